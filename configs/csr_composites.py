"""CSR on pasted pieces of photographs: known concepts in known places.

python train.py --config=configs/csr_composites.py

Test images, means of seeds 0, 1, 2: macro-F1 0.803, AUROC of the concepts
0.887; the best cell of a concept lies on it for 0.739 of the pairs. (A
bottleneck of concepts on the same features: macro-F1 0.730.) The projector
learns slowly on purpose: at ten times its rate it tells the vectors of training
images apart, and single cells less well. With 128 channels, on seed 0, macro-F1
falls from 0.768 to 0.702 and pointing from 0.723 to 0.598.

Variant: `:debug` shrinks everything and takes random weights.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "csr",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 50,
      # What a rejected concept's scores become: "absent_mean", their means over
      # training images without it, or "zero", the paper's, which harms.
      "reject": "absent_mean",
      "data": {
        "name": "composites",
        # Each class its own concept where there are none.
        "concepts": ("coin", "eye", "print", "wheel"),
        "root": "",
        "train": "train",
        "test": "test",
        "validation_fraction": 0.0,
        # -1: the run's seed.
        "split_seed": -1,
        "image_size": 96,
        # "squash": both sides become resize_size (0: image_size); "aspect": the
        # shorter one; "weights": as the backbone's weights were trained. The
        # middle square of image_size is seen. interpolation '': bilinear.
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
        "crop": False,
        "augment": "flip",
        # How often the false cue tells the truth in training.
        "tag": 0.9,
      },
      "backbone": {
        "name": "efficientnet_lite0_stride16",
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
      },
      # Stage 1. backbone: its rate; 0 leaves it as it is.
      "concepts": {
        "epochs": 100,
        "head": 1e-3,
        "backbone": 0.0,
        "weight_decay": 1e-3,
        "train_norm": False,
      },
      # Stage 2. Rounds: after each but the last, prototypes that no vector
      # chooses move to where they are needed.
      "warm": {"epochs": 5},
      "prototypes": {
        "per_concept": 20,
        "channels": 256,
        "standardise": True,
        "iterations": 20,
        "rounds": 3,
        "epochs": 5,
        "projector": 1e-4,
        "rate": 1e-3,
        "weight_decay": 1e-2,
      },
      # lambda, gamma and delta. margin_sign: -1 is a margin, +1 what the
      # paper's public replication has.
      "loss": {
        "scale": 20.0,
        "gamma": 1000.0,
        "margin": 0.1,
        "margin_sign": -1,
      },
      # Stage 3.
      "task": {
        "epochs": 100,
        "head": 1e-2,
        "weight_decay": 1e-4,
        "concept_dropout": 0.0,
      },
      # Prototypes that a person has thrown out, such as (3, 17), of the run
      # that --init-from names: only the task head is learned, anew.
      "refine": {"remove": ()},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "debug": {
    "data": {
      "name": "composites",
      "root": "",
      "concepts": ("coin", "eye", "print", "wheel"),
      "image_size": 32,
      "augment": "",
      "tag": 0.9,
    },
    "backbone": {"name": "convnet", "pretrained": False, "weights": ""},
    "concepts": {"epochs": 1},
    "warm": {"epochs": 1},
    "prototypes": {
      "per_concept": 3,
      "channels": 16,
      "iterations": 2,
      "rounds": 2,
      "epochs": 1,
    },
    "task": {"epochs": 1},
  }
}
