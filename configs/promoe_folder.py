"""ProMoE on a folder of images, in pixels.

python train.py --config=configs/promoe_folder.py --config.data.root=DIR

DIR holds train/<class>/* and test/<class>/*, or <class>/* alone, which is
split 60/40 by a seed. The network is small: 32 pixels, patches of 2, eight
blocks of 256 channels.

`moe.routing` is promoe, a row of the paper's ablation (contrastive: without
the unconditional expert; prototypical: without the contrastive loss, too) or a
baseline (dense, token_choice, expert_choice, kmeans, kmeans_conditional,
classes), all with as many parameters in use.

Variants: `:ddpm` predicts noise, in DDPM's steps; `:ec` lets experts choose
tokens; `:debug` shrinks everything and runs in seconds, on the embedded digits
where no root is given; they combine with commas.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "promoe",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 64,
      # Updates.
      "steps": 20_000,
      # Share of the labels that training drops.
      "drop": 0.1,
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
        "image_size": 32,
        # "squash": both sides become resize_size (0: image_size); "aspect": the
        # shorter one. The middle square of image_size is seen. interpolation
        # '': bilinear.
        "resize": "aspect",
        "resize_size": 0,
        "interpolation": "",
        # To their bounding boxes, if the data set has some.
        "crop": False,
        "augment": "flip",
      },
      # "pixels", of 3 channels or 1 (grey); "latents", which autoencoder=FILE
      # turns into images.
      "space": {"kind": "pixels", "channels": 3, "autoencoder": ""},
      # size: S, B, L or XL of the paper; '': channels, depth and heads.
      "network": {
        "size": "",
        "channels": 256,
        "depth": 8,
        "heads": 4,
        "patch": 2,
        "ratio": 4.0,
        "qk_norm": False,
        # Twice the channels out, the second half unused.
        "learn_sigma": False,
        "dtype": "float32",
        "remat": False,
      },
      # "flow" predicts velocity; "ddpm" noise, by a schedule (linear, cosine).
      "process": {"kind": "flow", "schedule": "linear"},
      # experts: routed ones; with routing=promoe there is an unconditional one
      # beside them, and a shared one. every: one block of so many has them.
      # strategy: buckets, ragged (GPU and TPU), dense_all (tests) or capacity
      # (experts spread over the devices, each with `room` times the mean load
      # of a device). local_means: the contrastive loss by device, as in the
      # paper's code.
      "moe": {
        "routing": "promoe",
        "experts": 12,
        "top_k": 1,
        "every": 2,
        "choice": "token",
        "activation": "identity",
        "temperature": 0.07,
        "strategy": "buckets",
        "room": 2.0,
        "local_means": False,
      },
      # balance below 0: 0.01 with token_choice, else none.
      "loss": {"contrast": 1.0, "balance": -1.0},
      # average: decay of the averaged weights; centroids: that of k-means.
      "optimizer": {
        "rate": 1e-4,
        "weight_decay": 0.0,
        "clip_norm": 0.5,
        "average": 0.999,
        "centroids": 0.99,
      },
      # guidance 1: none.
      "sample": {"steps": 50, "guidance": 1.5},
      # Times that the held-out loss is a mean over.
      "evaluation": {"times": 8},
      # The mixture (from the last one below 0) and time that are explained.
      "explanation": {"layer": -1, "time": 200.0},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "ddpm": {"process": {"kind": "ddpm"}},
  "ec": {"moe": {"choice": "expert"}},
  "debug": {
    "batch_size": 16,
    "steps": 20,
    "data": {
      "name": "digits",
      "root": "",
      "image_size": 8,
      "resize": "squash",
      "resize_size": 0,
      "crop": False,
      "augment": "",
    },
    "space": {"kind": "pixels", "channels": 1, "autoencoder": ""},
    "network": {
      "size": "",
      "channels": 16,
      "depth": 4,
      "heads": 2,
      "patch": 2,
      "ratio": 2.0,
      "dtype": "float32",
      "remat": False,
    },
    "moe": {"experts": 3},
    "optimizer": {"rate": 3e-3, "average": 0.9},
    "sample": {"steps": 4},
    "evaluation": {"times": 2},
  },
}
