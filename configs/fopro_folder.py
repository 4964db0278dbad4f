"""FoPro on a folder of web images and a few clean ones.

python train.py --config=configs/fopro_folder.py --config.data.root=DIR

DIR holds web/<class>/* and clean/<class>/*; docs/fopro.md has other layouts.
With --config.data.shots=16, so many of the clean images of a class guide, and
the others are tested on, unless there is test/<class>/*. The encoder is
EfficientNet-Lite0 with its ImageNet weights. Variants: `:fine`, the paper's
B-CNN and plan for fine-grained images; `:large`, its ResNet-50 and plan for a
thousand classes; `:vit`, DINOv2 from --config.backbone.weights=FILE;
`:debug`, which shrinks everything and runs on embedded digits where no root is
given.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "fopro",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 32,
      # "" is the whole method; "plain": cross entropy alone; "loss": the same
      # without the images of the largest losses.
      "baseline": "",
      "data": {
        "name": "web_folder",
        "root": "",
        # Names of folders in root.
        "train": "web",
        "test": "test",
        # Few-shot images of each class, drawn from the folder "clean" of root
        # or any other, or read from a list.
        "shots": 1,
        "clean": "clean",
        "clean_list": "",
        # Share of the web images to measure the domain gap on.
        "validation_fraction": 0.0,
        # -1: the run's seed.
        "split_seed": -1,
        "crop": False,
        "image_size": 224,
        # Two views; see docs/data.md.
        "weak": "crop,flip",
        "strong": "crop,flip,colour,blur?",
        "resize": "aspect",
        "resize_size": 256,
        "interpolation": "",
        # Draw less from large classes: 1 / sqrt(images).
        "rebalance": False,
      },
      "backbone": {
        "name": "efficientnet_lite0",
        "pretrained": True,
        # A file; MoPro's checkpoints are read, too.
        "weights": "",
        "dtype": "float32",
        "remat": False,
      },
      # pooling: "mean", or "bilinear" as in B-CNN. hidden: units inside the
      # projector; 0: it is one layer. channels: of a projection.
      "network": {
        "pooling": "mean",
        "hidden": 2048,
        "channels": 128,
        "relation": 128,
      },
      # momentum: of the slow encoder.
      "queue": {"size": 2048, "momentum": 0.999},
      # start: from the few "shots", or from images of the "web". web: images of
      # a class without few-shot images.
      "prototypes": {"momentum": 0.999, "start": "shots", "web": 16},
      # density: a temperature for each class. class_weights: those of the lists
      # of WebVision. The others are weights of the terms.
      "loss": {
        "temperature": 0.1,
        "margin": 0.5,
        "alpha": 0.5,
        "density": True,
        "class_weights": False,
        "instance": 1.0,
        "prototype": 1.0,
        "reconstruct": 1.0,
        "auxiliary": 1.0,
        "relation": 1.0,
      },
      # mode: of the last stage; 0: none, 1: by vote, 2: by relation, 3: by
      # both. confidence: a new label is weighed by the vote for the "given" or
      # the "corrected" one. relation: learns from "clean" images, or, as in the
      # authors' code, from "replaced" labels. corrected: a list to go by.
      "cleaning": {
        "mode": 3,
        "threshold": 0.6,
        "distance": 20.0,
        "confidence": "given",
        "relation": "clean",
        "corrected": "",
      },
      # Epochs: encoder frozen; up to the prototypes; up to the end of the first
      # stage; the relation module alone; the last stage. plan: along which the
      # rate falls; the last stage ends with it.
      "stages": {
        "frozen": 1,
        "start": 3,
        "contrast": 2,
        "relate": 3,
        "clean": 12,
        "plan": 18,
      },
      # Of the baselines; dropped: share of each batch without the whole.
      "plain": {"epochs": 18, "dropped": 0.3},
      # After all, on the cleaned list; 0 leaves it out.
      "mixup": {"epochs": 0, "rate": 1e-4, "beta": 0.8, "probability": 0.5},
      # late: epoch of the plan from which Adam has another momentum.
      "optimizer": {
        "name": "adam",
        "rate": 1e-4,
        "relation": 1e-4,
        "weight_decay": 1e-8,
        "momentum": 0.9,
        "late": 100,
        "late_momentum": 0.1,
        "warmup": 1,
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "fine": {
    "batch_size": 64,
    "data": {"image_size": 448, "resize_size": 512},
    "backbone": {
      "name": "vgg16_stride16",
      "pretrained": False,
      "weights": "hf:timm/vgg16.tv_in1k",
      "remat": True,
    },
    "network": {"pooling": "bilinear", "hidden": 0},
    "stages": {
      "frozen": 5,
      "start": 16,
      "contrast": 5,
      "relate": 19,
      "clean": 173,
      "plan": 200,
    },
    "plain": {"epochs": 200},
    "optimizer": {"late": 40, "warmup": 5},
  },
  "large": {
    "batch_size": 256,
    "data": {"image_size": 224, "resize_size": 256, "rebalance": True},
    "backbone": {
      "name": "resnet50",
      "pretrained": False,
      "weights": "hf:timm/resnet50.tv_in1k",
    },
    "network": {"pooling": "mean", "hidden": 2048},
    "queue": {"size": 8192},
    "stages": {
      "frozen": 0,
      "start": 16,
      "contrast": 4,
      "relate": 9,
      "clean": 29,
      "plan": 50,
    },
    "plain": {"epochs": 50},
    "optimizer": {
      "name": "sgd",
      "rate": 1e-2,
      "weight_decay": 1e-4,
      "late": 100,
      "warmup": 0,
    },
  },
  "vit": {
    "backbone": {"name": "dinov2_small", "pretrained": False, "remat": True}
  },
  "debug": {
    "batch_size": 16,
    "data": {
      "name": "digit_web",
      "root": "",
      "shots": 2,
      "flipped": 0.3,
      "outliers": 0.15,
      "web": 60,
      "image_size": 16,
      "weak": "crop,flip",
      "strong": "crop,flip,colour",
      "resize": "squash",
      "resize_size": 0,
      "rebalance": False,
    },
    "backbone": {
      "name": "convnet",
      "pretrained": False,
      "weights": "",
      "dtype": "float32",
      "remat": False,
    },
    "network": {"pooling": "mean", "hidden": 32, "channels": 8, "relation": 8},
    "queue": {"size": 32},
    "loss": {"class_weights": False},
    "stages": {
      "frozen": 1,
      "start": 0,
      "contrast": 0,
      "relate": 1,
      "clean": 1,
      "plan": 3,
    },
    "plain": {"epochs": 1},
    "optimizer": {"warmup": 0},
  },
}
