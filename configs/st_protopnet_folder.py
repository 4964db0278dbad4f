"""ST-ProtoPNet on a folder of images, with EfficientNet-Lite0.

python train.py --config=configs/st_protopnet_folder.py --config.data.root=DIR

DIR holds train/<class>/* and test/<class>/*, or <class>/* alone, which is
split 60/40 by a seed.

The recipe is that of `protopnet_folder.py`, its ten prototypes of a class in
two branches: five trivial and five support. On 12 classes of Caltech-101, after
the push and the last layer: 0.939, ProtoPNet 0.940, all ten of one kind 0.945
(trivial) and 0.941 (support), which differ by less than two seeds do (0.01);
means of seeds 0, 1, 2. In every seed support prototypes are nearer to the
boundary of their branch than trivial ones, at 0.31 against 0.44. Without the
terms Close and Discr it is 0.35 against 0.40, and the two kinds are equally
like those of other classes (`benchmarks/st_protopnet.py claims`).

Variants: `:cropped` and `:full` have the settings of the paper's code for
cropped and for full images, `:debug` shrinks everything and runs in
seconds, on the embedded photographs where no root is given; they combine with
commas.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "st_protopnet",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 32,
      "rounds": 1,
      # One alone is a model without the other.
      "branches": "trivial,support",
      # Each step trains one branch, in turn; False: all, by their mean loss,
      # which gives each of two twice the steps (0.939 against 0.921).
      "alternate": False,
      # True: clusters and separation take cosines below 0 as 0, as in the
      # paper's code; then images that are that far pull no prototype.
      "clip_cosines": False,
      # BatchNorm of a frozen backbone (warm, last layer) uses the batch, as in
      # the paper's code; features then move away from pushed prototypes.
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
        # In warm and last, too, as in the paper's code. False: these stages see
        # the images as they are, and a frozen backbone computes each once.
        "augment_frozen": False,
      },
      # weights: a file, or hf:owner/name; '': those that come with it. dtype:
      # "bfloat16" is faster on GPU and TPU. remat: less memory, more time.
      # upsample: times so many cells on a side, between those of the backbone.
      "backbone": {
        "name": "efficientnet_lite0",
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
        "upsample": 1,
      },
      # per_class, channels: of each branch. similarity: "cosine", its positive
      # part "relu_cosine", or "projection" on features of any length.
      "prototypes": {
        "per_class": 5,
        "channels": 64,
        "similarity": "cosine",
        "add_on": "regular",
        "hidden": "relu",
        "activation": "none",
        # Features brought to unit variance; prototypes start as patches.
        "standardise": True,
        "patches": True,
        # True: orthogonality, discrimination and closeness are of the vectors
        # as long as they are, and the start, too, as in the paper's code. The
        # lengths are taken back after each step, but Adam's moments keep what
        # would change them, so that prototypes turn by less. False: of
        # directions, whose gradients only turn.
        "raw": False,
      },
      # The backbone as a plain classifier first, for one without weights.
      "pretrain": {"epochs": 0, "backbone": 1e-3, "weight_decay": 1e-3},
      # Weights of the loss.
      "trivial": {
        "cluster": 0.8,
        "separation": -0.08,
        "orthogonality": 1e-3,
        "discrimination": 1.0,
        "l1": 1e-4,
      },
      "support": {
        # With the paper's 0.8, and 1 for closeness, patches stay so far from
        # these prototypes that the push takes them away from the boundary, to
        # 0.51.
        "cluster": 5.0,
        "separation": -0.48,
        "orthogonality": 1e-3,
        "closeness": 3.0,
        "l1": 1e-4,
      },
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
        # The rates fall every so many epochs, the first time one epoch early;
        # drops: before these joint epochs instead, counted from 0 through all
        # rounds, and then stay.
        "drop_epochs": 5,
        "drops": (),
        "drop": 0.1,
        "train_norm": False,
        # Epochs without a better accuracy on the validation images; 0: all.
        "patience": 0,
      },
      "last": {"epochs": 20, "head": 1e-3},
    }
  )
  return apply(config, variants, VARIANTS)


# What both variants of the paper's code share.
_PAPER = {
  "batch_size": 80,
  "alternate": True,
  "clip_cosines": True,
  "support": {"cluster": 0.8, "closeness": 1.0},
  "prototypes": {
    "per_class": 5,
    "channels": 64,
    "standardise": False,
    "patches": False,
    "raw": True,
  },
  "last": {"epochs": 10, "head": 1e-4},
}

VARIANTS = {
  "cropped": {
    **_PAPER,
    "data": {
      "crop": True,
      "augment": "bend,flip",
      "copies": 40,
      "augment_frozen": True,
    },
    "prototypes": {
      **_PAPER["prototypes"],
      "similarity": "projection",
      "hidden": "tanh",
      "activation": "tanh",
    },
    "warm": {"epochs": 5, "weight_decay": 5e-4},
    "joint": {
      "epochs": 16,
      "backbone": 1e-4,
      "add_on": 3e-3,
      "prototypes": 3e-3,
      "weight_decay": 5e-4,
      # Epochs 7, 9, 11 and 13 of the run, 5 of which warm up.
      "drops": (2, 4, 6, 8),
      "drop": 0.2,
      "train_norm": True,
    },
  },
  "full": {
    **_PAPER,
    "data": {
      "crop": False,
      "augment": "affine,flip",
      "copies": 1,
      "augment_frozen": True,
    },
    # 14 x 14 cells. The paper has them of vgg16_stride16 and vgg19_stride16,
    # and of resnet34, resnet50 and others with upsample=2.
    "backbone": {"name": "efficientnet_lite0_stride16"},
    "prototypes": {
      **_PAPER["prototypes"],
      "similarity": "relu_cosine",
      "hidden": "none",
      "activation": "none",
    },
    "warm": {"epochs": 10, "weight_decay": 1e-4},
    "joint": {
      # Epochs 10 to 100, after which comes the push.
      "epochs": 91,
      "backbone": 1e-4,
      "add_on": 3e-3,
      "prototypes": 3e-3,
      "weight_decay": 1e-4,
      "drops": (),
      "drop_epochs": 20,
      "drop": 0.2,
      "train_norm": True,
    },
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
    "last": {"epochs": 2},
  },
}
