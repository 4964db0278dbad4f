"""A text-to-image model on a folder of images with captions.

python train.py --config=configs/text_to_image_folder.py --config.data.root=DIR

DIR holds train/ and test/, each of images with metadata.jsonl, or with a text
file beside each image; or such images alone, which are divided by a seed. The
network is small: 32 pixels, patches of 2, eight blocks of 256 channels. Its
words are the most frequent ones of the captions.

Variants: `:ddpm` predicts noise, in DDPM's steps; `:debug` shrinks everything
and runs in seconds, on embedded scenes where no root is given; they combine
with commas.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "text_to_image",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 64,
      # Updates.
      "steps": 100_000,
      # Share of the captions that training drops.
      "drop": 0.1,
      "data": {
        "name": "captioned_folder",
        "root": "",
        "train": "train",
        "test": "test",
        "test_fraction": 0.1,
        # Of the training images, held out to choose by.
        "validation_fraction": 0.0,
        # -1: the run's seed.
        "split_seed": -1,
        "image_size": 32,
        # "squash": both sides become resize_size (0: image_size); "aspect": the
        # shorter one. The middle square of image_size is seen. interpolation
        # '': bilinear.
        "resize": "aspect",
        "resize_size": 0,
        "interpolation": "",
        "crop": False,
        # A mirror image may not be what its caption says.
        "augment": "",
      },
      # Pixels of 3 channels, or 1 (grey).
      "space": {"channels": 3},
      # The tower of words. length: tokens of a caption, at most; words: those
      # that are known, at most.
      "text": {
        "length": 32,
        "words": 10_000,
        "channels": 256,
        "blocks": 2,
        "heads": 4,
      },
      # size: S, B, L or XL of DiT; '': channels, depth and heads. variance: of
      # clean images in [-1, 1], which a guess from the noisy image alone is
      # made with, that the network corrects; 0: no such guess. refine: channels
      # of a pixel for two convolutions at the end; 0: none.
      "network": {
        "size": "",
        "channels": 256,
        "depth": 8,
        "heads": 4,
        "patch": 2,
        "ratio": 4.0,
        "qk_norm": False,
        "dtype": "float32",
        "remat": False,
        "unroll": 1,
        "variance": 0.0,
        "refine": 0,
      },
      # "flow" predicts velocity; "ddpm" noise, by a schedule (linear, cosine).
      # mean: of the logit of a flow's share of noise in training. Above 0 the
      # network learns more of what things are, and less of their finest grain.
      "process": {"kind": "flow", "schedule": "linear", "mean": 0.0},
      # cosine: the rate falls to 0 along a cosine, after `warmup` steps in
      # which it rises. average: decay of the averaged weights.
      "optimizer": {
        "rate": 3e-4,
        "cosine": False,
        "warmup": 0,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "average": 0.999,
      },
      # guidance 1: none.
      "sample": {"steps": 50, "guidance": 4.0},
      # Times that the held-out loss is a mean over.
      "evaluation": {"times": 8},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "ddpm": {"process": {"kind": "ddpm"}},
  "debug": {
    "batch_size": 8,
    "steps": 20,
    "data": {
      "name": "captioned_scenes",
      "root": "",
      "train": "train:32",
      "test": "test:16",
      "things": (1, 2),
      "weather": False,
      "held_out": False,
      "image_size": 32,
      "resize": "squash",
      "resize_size": 0,
    },
    "text": {"length": 16, "channels": 16, "blocks": 1, "heads": 2},
    "network": {
      "size": "",
      "channels": 16,
      "depth": 2,
      "heads": 2,
      "patch": 8,
      "ratio": 2.0,
      "dtype": "float32",
      "remat": False,
    },
    "optimizer": {"rate": 3e-3, "average": 0.9},
    "sample": {"steps": 4},
    "evaluation": {"times": 2},
  },
}
