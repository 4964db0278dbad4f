"""VSC on images with captions and the masks of their things.

python train.py --config=configs/vsc_folder.py --config.base=RUN
  --config.data.root=DIR

DIR is what `python -m protojax prepare compositional` writes. RUN is a run of
configs/text_to_image_folder.py, or another one of the method text_to_image,
whose sizes must be set here, too: text, network, space, process and
data.image_size.

Variants: `:literal` puts the MLP's output in place of a word; `:unlocalised`
has no localisation loss; `:frozen` trains the fusion alone; `:shuffled` tells
the prototype of another thing of the same text; `:text` tells none, so that the
MLP learns from words alone; `:debug` shrinks everything and runs in seconds, on
embedded scenes and a random base where none are given; they combine with
commas.
"""

from ml_collections import ConfigDict

from protojax.configs import text_to_image_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = text_to_image_folder.get_config().unlock()
  config.method = "vsc"
  config.batch_size = 16
  config.steps = 10_000
  # Share of the examples that training tells nothing of their things.
  config.drop = 0.1
  config.data.update(name="compositional")
  config.optimizer.update(rate=1e-4, average=0.999)
  config.update(
    ConfigDict(
      {
        # Folder of a run of text_to_image; '': random weights, to try out.
        "base": "",
        # Things with attributes of a text, at most.
        "pairs": {"most": 5},
        # count: drawings of each thing alone, of which the best `keep` count;
        # most: such things that all captions say, at most; told: the prototype
        # of the thing itself ("own"), of another one of its text ("others"),
        # or none ("none").
        "references": {
          "count": 3,
          "keep": 2,
          "most": 2000,
          "steps": 25,
          "guidance": 2.0,
          "told": "own",
        },
        # Of the images. trained: whether its upper layers go on learning.
        "encoder": {
          "channels": 32,
          "vector": 128,
          "steps": 2000,
          "rate": 1e-3,
          "temperature": 0.1,
          "trained": True,
        },
        # Whether the MLP's output is added to a word.
        "fusion": {"residual": True},
        # by_area: means over each mask and its rest by themselves.
        "localisation": {"weight": 0.01, "by_area": True},
      }
    )
  )
  return apply(config, variants, VARIANTS)


ARMS = {
  "literal": {"fusion": {"residual": False}},
  "unlocalised": {"localisation": {"weight": 0.0}},
  "frozen": {"encoder": {"trained": False}},
  "shuffled": {"references": {"told": "others"}},
  "text": {"references": {"told": "none"}},
}
_SMALL = text_to_image_folder.VARIANTS["debug"]
VARIANTS = {
  **ARMS,
  "debug": {
    **_SMALL,
    "base": "",
    "data": {**_SMALL["data"], "things": (1, 2)},
    "pairs": {"most": 4},
    "references": {"count": 2, "keep": 1, "most": 160, "steps": 2},
    "encoder": {"channels": 4, "vector": 8, "steps": 20},
  },
}
