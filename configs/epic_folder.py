"""EPIC on a folder of images, with EfficientNet-Lite0.

python train.py --config=configs/epic_folder.py:lite0 --config.data.root=DIR

DIR holds train/<class>/* and test/<class>/*, or <class>/* alone, which is
split 60/40 by a seed. Nothing of the classifier moves: its channels are turned
until each fires by itself, and the images that fire most are its prototypes.

The classifier is Lite0 with a linear probe on the folder's classes. With
`:imagenet` it is the network with its own 1000 classes, and the folder's
labels are of no concern.

On 12 classes of Caltech-101 with 20 photographs of ImageNet (`:imagenet`) the
channels' purity on test images rises from 0.152 to 0.201, means of seeds 0, 1,
2 (a random rotation has 0.072, PCA 0.061); no answer changes, and logits by
1e-6. With ReLU6 before the head, channels are nearly as pure as a rotation can
make them: whitening does it, and turning adds next to nothing. Where no ReLU
is before the head, `rotation.kind=orthogonal` with `rotation.inertia=0` is
better; `docs/classifiers.md` has the figures.

Variants: `:lite0` (as without any), `:lite1`, `:lite2`, `:resnet18`,
`:resnet50` and `:convnext` choose the backbone, `:imagenet` its own head,
`:paper` has the paper's descent on shuffled pairs of an image and a channel,
and its resizing (slow on CPU: every step differentiates the exponential of a
1280 x 1280 matrix), `:debug` shrinks everything and runs in
seconds, on the embedded photographs where no root is given; they combine with
commas.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "epic",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 32,
      "data": {
        "name": "folder",
        "root": "",
        "train": "train",
        "test": "test",
        "test_fraction": 0.4,
        # Of the training images, held out to choose the purest U by.
        "validation_fraction": 0.2,
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
        # Of the stage "pretrain".
        "augment": "crop,flip",
      },
      # weights: a file, or hf:owner/name; '': those that come with it. dtype:
      # "bfloat16" is faster on GPU and TPU. remat: less memory, more time.
      "backbone": {
        "name": "efficientnet_lite0_head",
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
      },
      # "probe": linear, trained on the folder's classes; "weights": the one
      # that the backbone's weights come with; "readout": that of the stage
      # "pretrain".
      "head": "probe",
      "probe": {"epochs": 50, "rate": 3e-3, "weight_decay": 1e-4},
      # The backbone as a plain classifier first, for one without weights.
      "pretrain": {"epochs": 0, "backbone": 1e-3, "weight_decay": 1e-3},
      "rotation": {
        # Or "orthogonal".
        "kind": "invertible",
        # "procrustes": the best U for the chosen pixels, `sweeps` times a
        # round, with some `inertia`; an invertible one is a whitening (with
        # `shrinkage`) that is turned. "adam": the paper's, `epochs` a round
        # at `rate`, in batches of so many `pairs` of an image and a channel.
        "solver": "procrustes",
        "sweeps": 1,
        "inertia": 1.0,
        "shrinkage": 0.3,
        "pairs": 512,
        "epochs": 2,
        "rate": 1e-3,
        "weight_decay": 1e-5,
        # Images that a channel is trained on, from round to round.
        "schedule": "linear",
        "rounds": 5,
        "most": 100,
        "least": 5,
        # Images that stand for a channel in the end.
        "prototypes": 5,
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "lite0": {"backbone": {"name": "efficientnet_lite0_head"}},
  "lite1": {"backbone": {"name": "efficientnet_lite1_head"}},
  "lite2": {"backbone": {"name": "efficientnet_lite2_head"}},
  "resnet18": {
    "backbone": {"name": "resnet18", "weights": "hf:timm/resnet18.tv_in1k"}
  },
  "resnet50": {
    "backbone": {"name": "resnet50", "weights": "hf:timm/resnet50.tv_in1k"}
  },
  "convnext": {
    "backbone": {
      "name": "convnext_tiny",
      "weights": "hf:timm/convnext_tiny.fb_in1k",
    }
  },
  "imagenet": {"head": "weights"},
  "paper": {
    "data": {"validation_fraction": 0.0, "resize": "weights"},
    "rotation": {"kind": "orthogonal", "solver": "adam", "rounds": 10},
  },
  "debug": {
    "batch_size": 26,
    "data": {
      "name": "photos",
      "root": "",
      "validation_fraction": 0.1,
      "image_size": 32,
      "resize": "squash",
      "resize_size": 0,
      "crop": False,
    },
    "backbone": {"name": "convnet", "pretrained": False, "weights": ""},
    "head": "probe",
    "probe": {"epochs": 5, "rate": 1e-2},
    "rotation": {"rounds": 2, "most": 20, "sweeps": 1, "epochs": 1},
  },
}
