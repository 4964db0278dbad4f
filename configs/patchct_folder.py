"""PatchCT on a folder of images with several labels each.

python train.py --config=configs/patchct_folder.py --config.data.root=DIR

DIR holds the images and labels.csv: a column "image" with paths, and a column
for each label with 1, 0, or -1 where nobody knows (docs/patchct.md). A small
transformer and a table of label vectors are trained from scratch, patches and
labels aligned first. `:clip` takes both towers of CLIP ViT-B/16 from
--config.backbone.weights=FILE and --config.text.vocabulary=FILE, `:minilm` the
sentences of MiniLM for the labels.

The paper's weights and rates were not at hand: all numbers are ours, the
asymmetric loss is that of Ridnik et al. (2021).
Variants: `:clip`, `:minilm`, and `:debug`, which shrinks everything and runs on
embedded digits where no root is given.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  # Learning rates of the stages; 0: frozen.
  rates = {"rate": 2e-3, "backbone": 2e-3, "text": 0.0, "labels": 2e-3}
  config = ConfigDict(
    {
      "method": "patchct",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 64,
      "data": {
        "name": "tagged_folder",
        "root": "",
        # In the column "split" of labels.csv, or of train.csv and test.csv.
        "train": "train",
        "test": "test",
        # Without that column.
        "test_fraction": 0.4,
        "validation_fraction": 0.0,
        # -1: the run's seed.
        "split_seed": -1,
        "crop": False,
        "image_size": 64,
        "augment": "flip",
        # See docs/data.md.
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
      },
      # The image tower; see inp_former_folder.py.
      "backbone": {
        "name": "vit_mini_patch4",
        "pretrained": False,
        "weights": "",
        "dtype": "float32",
        "remat": False,
      },
      # Layers of it whose patches are transported besides the last; ("all",).
      "layers": (),
      # Of the space that patches and labels share.
      "channels": 64,
      # name: of a text tower, '' for a table that is learned. early: label
      # vectors of the layers before the last, "shared" with the last or those
      # of the "tower".
      "text": {
        "name": "",
        "vocabulary": "",
        "weights": "",
        "template": "A photo of a {}.",
        "trainable": False,
        "early": "shared",
      },
      # scale: factor of the cosines at the start. shared: the class token has
      # the map of the last layer's patches, not one of its own.
      "head": {"scale": 10.0, "shared": True},
      # learned: T is trained. forward, backward: weights of the directions.
      # null: mass of a null prototype, 0 for none. cost: "cosine" or
      # "exponential". theta: masses of patches, "uniform" or by "attention".
      "transport": {
        "temperature": 0.1,
        "learned": False,
        "forward": 0.5,
        "backward": 0.5,
        "null": 0.0,
        "cost": "cosine",
        "theta": "uniform",
      },
      # Weights of the terms besides the classification: transport is lambda,
      # patches of the patches' own logits, absent of the hinge above margin.
      # positive, negative, clip: of the asymmetric loss; 0, 0, 0 is BCE.
      "loss": {
        "transport": 0.1,
        "patches": 0.0,
        "absent": 0.0,
        "margin": 0.2,
        "positive": 0.0,
        "negative": 2.0,
        "clip": 0.05,
      },
      # Without transport, with the patches' own logits.
      "align": {"epochs": 10, **rates},
      "train": {"epochs": 10, **rates},
      # warmup: share of the steps. average: decay of averaged parameters, 0 for
      # none.
      "optimizer": {
        "weight_decay": 1e-2,
        "warmup": 0.05,
        "clip_norm": 1.0,
        "average": 0.0,
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "clip": {
    "data": {"image_size": 224, "augment": "crop,flip,colour"},
    "backbone": {"name": "clip_base_patch16"},
    "layers": ("block_3", "block_6", "block_9"),
    "channels": 512,
    "text": {"name": "clip_base", "early": "tower"},
    "transport": {"learned": True},
    "loss": {"negative": 4.0},
    "align": {"epochs": 0},
    "train": {"epochs": 40, "rate": 1e-4, "backbone": 1e-5, "labels": 1e-4},
    "optimizer": {"average": 0.999},
  },
  "minilm": {"text": {"name": "minilm"}},
  "debug": {
    "batch_size": 16,
    "data": {
      "name": "digit_canvases",
      "root": "",
      "train": "train:64",
      "test": "test:32",
      "image_size": 36,
      "augment": "",
      "resize_size": 0,
    },
    "backbone": {"name": "convnet", "pretrained": False, "weights": ""},
    "layers": ("stage_2",),
    "channels": 16,
    "text": {
      "name": "",
      "vocabulary": "",
      "weights": "",
      "early": "shared",
      "trainable": False,
    },
    "align": {"epochs": 1},
    "train": {"epochs": 1},
  },
}
