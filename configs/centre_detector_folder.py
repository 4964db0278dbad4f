"""A detector of cars and people on a folder of KITTI's layout.

python train.py --config=configs/centre_detector_folder.py --config.data.root=D

python -m protojax predict D/training/image_2 --labels=OUT

D holds training/image_2, label_2 and calib, and maybe ImageSets
(docs/detector.md). Images in --config.data.added=DIR,DIR are trained on, too:
those that `generate` makes of the same frames. With
--config.evaluation.corruptions=all:3, test images are also corrupted. Variants:
`:debug`, which shrinks everything and runs on embedded scenes where no root is
given.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "centre_detector",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 8,
      # Updates.
      "steps": 60_000,
      "data": {
        "name": "kitti",
        "root": "",
        # Names of ImageSets.
        "train": "train",
        "test": "val",
        "test_fraction": 0.5,
        # Of the training images, held out to choose by.
        "validation_fraction": 0.0,
        # -1: the run's seed.
        "split_seed": -1,
        # Of nuscenes: the folder of its tables, and cameras.
        "version": "v1.0-trainval",
        "channels": ("CAM_FRONT",),
        # Kinds of objects; index = class.
        "kinds": ("Car", "Pedestrian", "Cyclist"),
        # More training images of the same frames: folders, with commas.
        "added": "",
        # An image is squashed to a square; its camera goes with it.
        "image_size": 512,
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
        "crop": False,
        # None: the camera holds for images as they are.
        "augment": "",
      },
      "backbone": {
        "name": "unet_stride4",
        "pretrained": False,
        "weights": "",
        "dtype": "float32",
        "remat": False,
      },
      # typical: metres, the unit of depths. most: answers for an image.
      "network": {"hidden": 128, "typical": 25.0, "most": 50},
      # Weights of what is learnt at centres; that of the centres is 1.
      "loss": {
        "offset": 1.0,
        "box": 0.5,
        "middle": 0.5,
        "depth": 1.0,
        "size": 0.5,
        "angle": 0.5,
      },
      "optimizer": {
        "rate": 5e-4,
        "weight_decay": 1e-4,
        "clip_norm": 10.0,
        "warmup": 500,
      },
      # overlaps: IoU of each kind. difficulty: easy, moderate, hard, or all.
      # corruptions: "fog:3,snow:1" or "all:3", with lengths in pixels times
      # scale.
      "evaluation": {
        "overlaps": (0.7, 0.5, 0.5),
        "difficulty": "moderate",
        "corruptions": "",
        "scale": 1.0,
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "debug": {
    "batch_size": 8,
    "steps": 20,
    "data": {
      "name": "driving_scenes",
      "root": "",
      "scenes": (16, 4),
      "conditions": ("clear",),
      "test_conditions": ("clear", "fog"),
      "added": "",
      "image_size": 64,
    },
    "backbone": {
      "name": "convnet",
      "pretrained": False,
      "weights": "",
      "dtype": "float32",
      "remat": False,
    },
    "network": {"hidden": 8, "typical": 8.0, "most": 5},
    "optimizer": {"warmup": 2},
    "evaluation": {"overlaps": (0.5, 0.25, 0.25), "difficulty": "all"},
  }
}
