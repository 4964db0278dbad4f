"""ProtoPNet on a folder of images, with EfficientNet-Lite0.

python train.py --config=configs/protopnet_folder.py --config.data.root=DIR

DIR holds train/<class>/* and test/<class>/*, or <class>/* alone, which is
split 60/40 by a seed.

On 12 classes of Caltech-101 (654 photographs): 0.943 after push and pruning,
0.939 before, means of seeds 0, 1, 2, in 16 seconds on two CPU cores. What the
recipe rests on: features brought to unit variance (raw ones saturate a
sigmoid), cosine similarity without a final sigmoid, and prototypes that start
as patches, which keeps them distinct (uniform ones end as accurate, but half
of them on the patch of another). The backbone stays frozen; `joint.epochs`
trains it too.

Variants: `:paper` has the settings of the paper's code (log similarity behind
a sigmoid, its rates, its BatchNorm, its epochs of 30 copies of each image),
`:debug` shrinks everything and runs in seconds, on the embedded photographs
where no root is given; they combine with commas.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "protopnet",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 32,
      # Parts that a device takes of its batch, one after the other: the memory
      # of a part, the gradient of the whole.
      "accumulate": 1,
      "rounds": 1,
      "batch_norm_parity": False,
      "data": {
        "name": "folder",
        "root": "",
        "train": "train",
        "test": "test",
        "test_fraction": 0.4,
        # Of the training images, held out to choose by.
        "validation_fraction": 0.0,
        # -1: the run's seed.
        "split_seed": -1,
        "image_size": 224,
        # "squash": both sides become resize_size (0: image_size); "aspect": the
        # shorter one; "weights": as the backbone's weights were trained. The
        # middle square of image_size is seen. interpolation '': bilinear.
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
        # To their bounding boxes, if the data set has some.
        "crop": False,
        "augment": "crop,flip",
        # How often an epoch has each image.
        "copies": 1,
      },
      # weights: a file, or hf:owner/name; '': those that come with it. dtype:
      # "bfloat16" is faster on GPU and TPU. remat: less memory, more time.
      "backbone": {
        "name": "efficientnet_lite0",
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
      },
      "prototypes": {
        "per_class": 10,
        "channels": 128,
        "height": 1,
        "width": 1,
        "similarity": "cosine",
        "add_on": "regular",
        "activation": "none",
        # "class_block" has one weight for all other classes: for many classes.
        "head": "dense",
        # "pallas": a fused kernel for GPU and TPU, not yet run on any.
        "kernel": "xla",
        # Features brought to unit variance; prototypes start as patches.
        "standardise": True,
        "patches": True,
        # In training and pushes each device holds a part of them.
        "sharded": False,
      },
      # The backbone as a plain classifier first, for one without weights.
      "pretrain": {"epochs": 0, "backbone": 1e-3, "weight_decay": 1e-3},
      "loss": {"cluster": 0.8, "separation": -0.08, "l1": 1e-4},
      "warm": {
        "epochs": 10,
        "add_on": 3e-3,
        "prototypes": 3e-3,
        "weight_decay": 1e-3,
      },
      "joint": {
        "epochs": 0,
        "backbone": 1e-4,
        "add_on": 1e-3,
        "prototypes": 1e-3,
        "weight_decay": 1e-3,
        "drop_epochs": 5,
        "drop": 0.1,
        "train_norm": False,
        # Epochs without a better accuracy on the validation images; 0: all.
        "patience": 0,
      },
      # "convex": the head at the minimum of its loss, with a ridge towards +1
      # and 0; "adam": trained for so many epochs at the rate of "head".
      "last": {
        "solver": "convex",
        "ridge": 1e-4,
        "steps": 1000,
        "epochs": 20,
        "head": 1e-3,
      },
      "prune": {"nearest": 6, "threshold": 3, "epochs": 20},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "paper": {
    "batch_size": 80,
    "rounds": 3,
    "data": {"augment": "warp,flip", "copies": 30},
    "prototypes": {
      "per_class": 10,
      "similarity": "log",
      "activation": "sigmoid",
      "standardise": False,
      "patches": False,
    },
    "warm": {"epochs": 5, "add_on": 3e-3, "prototypes": 3e-3},
    "joint": {
      "epochs": 6,
      "backbone": 1e-4,
      "add_on": 3e-3,
      "prototypes": 3e-3,
      "train_norm": True,
    },
    "last": {"solver": "adam", "epochs": 20, "head": 1e-4},
    "prune": {"epochs": 100},
  },
  "debug": {
    "batch_size": 26,
    "rounds": 1,
    "data": {
      "name": "photos",
      "root": "",
      "image_size": 32,
      "resize": "squash",
      "resize_size": 0,
      "crop": False,
      "copies": 1,
    },
    "backbone": {"name": "convnet", "pretrained": False, "weights": ""},
    "prototypes": {"per_class": 2, "channels": 16},
    "warm": {"epochs": 1},
    "joint": {"epochs": 1},
    "last": {"steps": 10, "epochs": 2},
    "prune": {"epochs": 2},
  },
}
