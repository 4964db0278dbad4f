"""What agents of the embedded world learn: answers, likeness, a policy.

python train.py --config=configs/proactive_agents_scenes.py

python explain.py

python -m protojax agent selfplay --workdir=DIR

Scenes of one to four things are counted for the beliefs; a small network
answers questions about their pictures and is calibrated on held-out ones.

Variants: `:debug` runs in seconds.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "proactive_agents",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 32,
      "data": {
        "name": "dialogue_scenes",
        "root": "",
        "train": "train:20000",
        "test": "test:1000",
        # Of the training scenes, held out to calibrate on.
        "validation_fraction": 0.05,
        # -1: the run's seed.
        "split_seed": -1,
        "image_size": 64,
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
        "crop": False,
      },
      # channels: of each convolution; all but the last halve the map. hidden:
      # of the answers. vector: numbers of a picture's vector.
      "network": {
        "channels": (24, 48, 64, 64),
        "hidden": 64,
        "vector": 32,
        "dtype": "float32",
      },
      # Updates; questions of a picture in each.
      "vqa": {"steps": 3000, "questions": 96},
      "encoder": {"steps": 300},
      "optimizer": {
        "rate": 3e-3,
        "warmup": 100,
        "weight_decay": 1e-4,
        "clip_norm": 1.0,
      },
      # Dialogues that the policy "learned" is fitted to.
      "policy": {"goals": 500, "turns": 10},
      # Dialogues of the report, for each policy.
      "play": {
        "goals": 200,
        "turns": 10,
        "policies": (
          *("none", "random", "checklist", "binary"),
          *("ag1", "eig", "learned"),
        ),
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "debug": {
    "batch_size": 8,
    "data": {
      "train": "train:64",
      "test": "test:16",
      "validation_fraction": 0.25,
    },
    "network": {"channels": (8, 8), "hidden": 8, "vector": 4},
    "vqa": {"steps": 20, "questions": 8},
    "encoder": {"steps": 10},
    "policy": {"goals": 8, "turns": 3},
    "play": {"goals": 4, "turns": 2, "policies": ("none", "ag1")},
  }
}
