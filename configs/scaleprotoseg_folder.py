"""ScaleProtoSeg on a folder of images with masks.

python train.py --config=configs/scaleprotoseg_folder.py --config.data.root=DIR

DIR holds classes.txt and train/images, train/masks, test/images, test/masks
(docs/data.md). EfficientNet-Lite0 is pretrained; three of its levels, at a
stride of 8 pixels, stand for DeepLab's map.

Rates, weights and the order of stages are those of the paper's code; the steps
are fewer, in its ratio of one of the warm-up to ten of the joint stage.
Variants: `:protoseg`, one scale, pruning and no groups; `:deeplab`, the paper's
backbone and schedule, with --config.backbone.weights=FILE of a ResNet-101;
`:em`, a U-Net from scratch, with the schedule for electron microscopy;
`:plain`, a linear head on the same features, which explains nothing; and
`:debug`, which shrinks everything and runs on embedded mosaics where no root is
given.
"""

from ml_collections import ConfigDict

from protojax.configs import masked
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "scaleprotoseg",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 10,
      # Pieces that a batch is computed in.
      "accumulate": 1,
      "data": {
        **masked.FOLDER,
        "augment": "scale,flip",
        # Of stages behind frozen features, too; else these are kept.
        "augment_frozen": False,
      },
      # levels: maps side by side, at the size of the first; (): the last map.
      # train_norm: BatchNorm by the batch in the first two stages.
      "backbone": {
        "name": "efficientnet_lite0",
        "levels": ("stage_3", "stage_5", "stage_7"),
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
        "train_norm": False,
      },
      # Dilations, one for each scale; summed: to a single scale.
      "aspp": {"rates": (1, 2, 4, 6), "channels": 64, "summed": False},
      # Shares of the size at which an image is seen besides its own.
      "sizes": (),
      # Of each class at each scale; 0: a linear head.
      "prototypes": {"per_class": 3},
      # Of each class; 0: none. threshold: smaller weights become 0 at the end.
      # rescaled: the sum of the others is 1 again, which the paper's is not.
      "groups": {"per_class": 3, "threshold": 0.05, "rescaled": False},
      # Weights of the terms besides the cross entropy. on: "distance", as in
      # the paper's code, or "similarity". foreign: of the head's weights from
      # other classes, and the same of groups.
      "loss": {
        "diversity": 0.25,
        "on": "distance",
        "foreign": 1e-4,
        "group_foreign": 1e-3,
        "entropy": 0.05,
      },
      # Optimiser steps of the stages, and rates of Adam.
      "warm": {"steps": 100, "aspp": 2.5e-4, "prototypes": 2.5e-4},
      "joint": {
        "steps": 1000,
        "backbone": 2.5e-5,
        "aspp": 2.5e-4,
        "prototypes": 2.5e-4,
      },
      "last": {"steps": 100, "head": 1e-5},
      "group": {"steps": 100, "weights": 2.5e-4},
      "refine": {"steps": 1000, "weights": 2.5e-4, "head": 2.5e-4},
      # ProtoSeg's: of the nearest images, how many at least show the class; of
      # 0 images, nothing is pruned.
      "prune": {"nearest": 0, "least": 0},
      # power: of the rates' fall, in the stages "joint" and "refine".
      "optimizer": {"weight_decay": 5e-4, "power": 0.9},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "protoseg": {
    "aspp": {"summed": True},
    "prototypes": {"per_class": 10},
    "groups": {"per_class": 0},
    "prune": {"nearest": 6, "least": 3},
  },
  "plain": {"prototypes": {"per_class": 0}},
  "deeplab": {
    "accumulate": 5,
    "data": {"image_size": 513, "augment_frozen": True},
    "backbone": {
      "name": "resnet101_deeplab",
      "levels": (),
      "pretrained": False,
    },
    "aspp": {"rates": (6, 12, 18, 24)},
    "warm": {"steps": 3_000},
    "joint": {"steps": 30_000},
    "last": {"steps": 2_000},
    "group": {"steps": 2_000},
    "refine": {"steps": 30_000},
  },
  "em": {
    "batch_size": 2,
    "data": {"image_size": 512},
    "backbone": {
      "name": "unet",
      "levels": (),
      "pretrained": False,
      "train_norm": True,
    },
    "aspp": {"rates": (6, 12, 18, 24)},
    "loss": {"group_foreign": 1e-4},
    "warm": {"steps": 0},
    "joint": {
      "steps": 10_000,
      "backbone": 1e-4,
      "aspp": 1e-4,
      "prototypes": 1e-4,
    },
    "last": {"steps": 10_000},
    "group": {"steps": 0},
    "refine": {"steps": 10_000, "weights": 5e-5, "head": 5e-5},
  },
  "debug": {
    "batch_size": 6,
    "accumulate": 1,
    "data": {
      "name": "texture_mosaics",
      "root": "",
      "train": "train:18",
      "test": "test:8",
      "image_size": 64,
      "augment_frozen": False,
      "resize_size": 0,
    },
    "backbone": {
      "name": "convnet",
      "levels": ("stage_2", "stage_4"),
      "pretrained": False,
      "weights": "",
    },
    "aspp": {"rates": (1, 2), "channels": 8},
    "sizes": (),
    "warm": {"steps": 3},
    "joint": {"steps": 3},
    "last": {"steps": 3},
    "group": {"steps": 3},
    "refine": {"steps": 3},
  },
}
