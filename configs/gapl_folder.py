"""GAPL on folders of real and generated images: is an image generated?

python train.py --config=configs/gapl_folder.py --config.data.root=DIR

DIR holds <generator>/real/* and <generator>/fake/*; docs/gapl.md has the
layouts of the benchmarks. The encoder is EfficientNet-Lite0 with its ImageNet
weights, and all of its convolutions but the depthwise ones adapt. `:clip` takes
CLIP ViT-L/14 from --config.backbone.weights=FILE, with the paper's settings.
Variants: `:clip`, and `:debug`, which shrinks everything and runs on embedded
patches where no root is given.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "gapl",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 32,
      # "" is the whole method; "linear": frozen encoder and linear layers;
      # "prototypes": without adapters; "random": random prototypes; "lora":
      # adapters without prototypes.
      "baseline": "",
      "data": {
        "name": "generators",
        "root": "",
        # Names of folders; without them, generators are held out whole.
        "train": "train",
        "test": "test",
        # A folder of test images alone, such as a benchmark.
        "test_root": "",
        # The folder of real images that generators without any share.
        "real": "",
        # Names of generators to test on; () draws so large a share of them.
        "held_out": (),
        "test_fraction": 0.3,
        # Share of the training generators to choose the threshold by.
        "validation_fraction": 0.0,
        # -1: the run's seed.
        "split_seed": -1,
        "crop": False,
        # Of regenerated: how many make training patches; 0: all.
        "families": 0,
        "image_size": 224,
        # See docs/data.md.
        "augment": "jpeg,flip,shift?,blur?,resample?,rotate?,shear?,cutout?",
        "resize": "aspect",
        "resize_size": 256,
        "interpolation": "",
      },
      # normalise: pixels as the "encoder" was trained, or by "imagenet".
      "backbone": {
        "name": "efficientnet_lite0",
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
        "normalise": "encoder",
      },
      # layers: a pattern of names, such as "q|k|v" or "expand|project"; ""
      # takes q, k and v, or all layers of a network without attention.
      "adapters": {"layers": "", "rank": 16, "alpha": 32.0, "dropout": 0.0},
      # count: of both classes. weights: a file with the dictionary, such as the
      # authors'; "" makes it of the first stage's embeddings.
      "prototypes": {"count": 64, "channels": 128, "heads": 4, "weights": ""},
      # The bottleneck, on images of so many generators; 0: of all.
      "first": {"generators": 3, "epochs": 20, "rate": 1e-4},
      "second": {"epochs": 10, "rate": 1e-4},
      # warmup: share of the steps. end: last rate as a share of the highest.
      "optimizer": {
        "weight_decay": 0.01,
        "warmup": 0.2,
        "end": 1e-3,
        "clip_norm": 1.0,
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "clip": {
    "batch_size": 64,
    "data": {"resize": "aspect", "resize_size": 256, "image_size": 224},
    "backbone": {
      "name": "clip_large_patch14",
      "pretrained": False,
      "dtype": "bfloat16",
      "remat": True,
    },
    "adapters": {"dropout": 0.1},
  },
  "debug": {
    "batch_size": 16,
    "data": {
      "name": "regenerated",
      "root": "",
      "train": "train:64",
      "test": "test:32",
      "image_size": 32,
      "resize": "squash",
      "resize_size": 0,
      "augment": "",
    },
    "backbone": {
      "name": "convnet",
      "pretrained": False,
      "weights": "",
      "dtype": "float32",
      "remat": False,
    },
    "adapters": {"rank": 2, "dropout": 0.0},
    "prototypes": {"count": 8, "channels": 16},
    "first": {"epochs": 1},
    "second": {"epochs": 1},
  },
}
