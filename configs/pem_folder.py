"""PEM on a folder of images with masks.

python train.py --config=configs/pem_folder.py --config.data.root=DIR
python train.py --config=configs/pem_folder.py:panoptic --config.data.root=DIR

DIR holds classes.txt and train/images, train/masks, test/images, test/masks;
for `:panoptic`, train/images with train/panoptic and train/panoptic.json, and
test likewise (docs/data.md). EfficientNet-Lite0 is pretrained.

Rates, weights and thresholds are those of the paper's code for Cityscapes; the
steps, the queries and the layers are fewer.
Variants: `:panoptic`, objects of a class are told apart; `:masked` and
`:random`, Mask2Former's cross-attention, and a random token, in place of the
most similar one; `:paper`, the network of the paper, with
--config.backbone.weights=FILE of a ResNet-50; and `:debug`, which shrinks
everything and runs on embedded images where no root is given.
"""

from ml_collections import ConfigDict

from protojax.configs import masked
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "pem",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 8,
      # Pieces that a batch is computed in.
      "accumulate": 1,
      # "semantic": a segment is all of a class in an image; "panoptic": an
      # object is one of its own.
      "task": "semantic",
      # image_size: a multiple of the coarsest level's stride.
      "data": {**masked.FOLDER, "augment": "scale,flip,photometric"},
      # levels: the finest first, each at half the size of the one before.
      # train_norm: BatchNorm by the batch.
      "backbone": {
        "name": "efficientnet_lite0",
        "levels": ("stage_2", "stage_3", "stage_5", "stage_7"),
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
        "train_norm": False,
      },
      # deformable: False has plain 3x3 convolutions; gated: False leaves out
      # the gates of the context (CSM).
      "pixels": {
        "channels": 128,
        "mask_channels": 256,
        "deformable": True,
        "gated": True,
      },
      # width: of the feed-forward layers within.
      "decoder": {
        "queries": 50,
        "channels": 256,
        "heads": 8,
        "layers": 3,
        "width": 1024,
      },
      # kind: "pem"; "masked" is Mask2Former's cross-attention, "random" picks
      # any token. across: what the norm within is over, "queries", as in the
      # paper's code, or "channels". parity: its code's rule for empty masks.
      # chunk: tokens that are compared at a time.
      "attention": {
        "kind": "pem",
        "across": "queries",
        "parity": False,
        "chunk": 2048,
      },
      # points: that masks are compared at, 0: all pixels; of these, the share
      # `importance` where a mask is least certain among `oversample` times as
      # many. no_object: weight of queries without a segment. classes, masks,
      # dice: weights. skip_void: leave out pixels that are of no segment.
      "loss": {
        "points": 0,
        "oversample": 3.0,
        "importance": 0.75,
        "no_object": 0.1,
        "classes": 2.0,
        "masks": 5.0,
        "dice": 5.0,
        "skip_void": False,
      },
      # rate: of AdamW, along a cosine to `end`; backbone: its share of it.
      "train": {"steps": 2000, "rate": 7e-4, "backbone": 0.1, "end": 0.0},
      # clip_norm: of the whole gradient.
      "optimizer": {"weight_decay": 0.05, "clip_norm": 0.01},
      # A segment has a class at least so probable, and keeps such a share of
      # its mask beside the others.
      "found": {"score": 0.8, "overlap": 0.8},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "panoptic": {"task": "panoptic", "data": {"name": "panoptic_folder"}},
  "masked": {"attention": {"kind": "masked"}},
  "random": {"attention": {"kind": "random"}},
  "paper": {
    "batch_size": 32,
    "data": {"image_size": 512},
    "backbone": {
      "name": "resnet50",
      "levels": ("stage_1", "stage_2", "stage_3", "stage_4"),
      "pretrained": False,
      "train_norm": True,
    },
    "decoder": {"queries": 100, "layers": 6, "width": 2048},
    "loss": {"points": 12_544},
    "train": {"steps": 90_000},
  },
  "debug": {
    "batch_size": 6,
    "accumulate": 1,
    "data": {
      "name": "digit_scenes",
      "root": "",
      "train": "train:18",
      "test": "test:8",
      "image_size": 64,
      "resize_size": 0,
    },
    "backbone": {
      "name": "convnet",
      "levels": ("stage_2", "stage_3"),
      "pretrained": False,
      "weights": "",
    },
    "pixels": {"channels": 16, "mask_channels": 16},
    "decoder": {
      "queries": 8,
      "channels": 16,
      "heads": 2,
      "layers": 1,
      "width": 32,
    },
    "loss": {"points": 0},
    "train": {"steps": 3},
    # The score of a class before anything is learned.
    "found": {"score": 0.0},
  },
}
