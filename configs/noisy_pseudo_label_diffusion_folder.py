"""Diffusion of label maps on a folder of images, few of them with masks.

python train.py --config=configs/noisy_pseudo_label_diffusion_folder.py \
  --config.data.root=DIR

DIR holds classes.txt and train/images, train/masks, test/images, test/masks
(docs/data.md). A share of the training images, `data.labelled`, is taken as
labelled; of the others the masks are not read in training, but to measure.

After the abstract of arXiv 2507.16429; the losses are ours, and so are the
network and the schedule, on DDP's diffusion of labels (2303.17559).
Variants: `:plain`, the same encoder and head without diffusion and prototypes,
a mean teacher; `:unanchored`, diffusion without prototypes in loss and trust;
`:supervised`, `:plain` that believes no pseudo-label; `:all`, every label;
`:unet`, a U-Net from scratch as encoder; and `:debug`, which shrinks everything
and runs on embedded images where no root is given.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "noisy_pseudo_label_diffusion",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      # Labelled images of a step, and unlabelled ones.
      "batch_size": 4,
      "unlabelled_batch_size": 8,
      "data": {
        "name": "mask_folder",
        "root": "",
        "train": "train",
        "test": "test",
        # Name of the folders of masks.
        "masks": "masks",
        # (): those of classes.txt.
        "classes": (),
        # Value of pixels of masks that have no class; -1: there is none.
        "void": 255,
        # Where a folder has no splits.
        "test_fraction": 0.4,
        "validation_fraction": 0.0,
        # Share of the training images, or of their groups, that is labelled.
        "labelled": 0.125,
        # -1: the run's seed.
        "split_seed": -1,
        "crop": False,
        # A multiple of the finest level's stride.
        "image_size": 256,
        # Of labelled images; and the two views of unlabelled ones: the
        # teacher's, and the student's, which goes on from it.
        "augment": "scale,flip,colour",
        "weak": "flip",
        "strong": "weak+colour,blur?,cutout?",
        # See docs/data.md.
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
      },
      # levels: the finest first. train_norm: BatchNorm by the batch.
      "backbone": {
        "name": "resnet50",
        "levels": ("stage_1", "stage_2", "stage_3", "stage_4"),
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
        "train_norm": False,
      },
      # kind: "diffusion", or "plain", blocks without labels and times.
      # kernel: of the blocks, in cells. bits: half the range of a label's
      # latents, beside noise of deviation 1.
      "denoiser": {
        "kind": "diffusion",
        "channels": 256,
        "blocks": 6,
        "kernel": 7,
        "bits": 0.5,
      },
      # Steps of DDIM, and noise maps that an answer is the mean over.
      "sampler": {"steps": 3, "seeds": 2},
      "prototypes": {"decay": 0.99, "temperature": 0.1},
      # A pseudo-label counts with a confidence above the threshold (-1: any),
      # if the nearest prototype agrees, and the less the seeds agree the less.
      "trust": {"threshold": 0.8, "agreement": True, "accord": True},
      "teacher": {"decay": 0.999},
      # Weights; margin: of the separation. aligned: share of labelled images
      # whose noisy labels are the network's own answer. ramp: share of the
      # second stage until pseudo-labels count in full. least_time: of noisy
      # pseudo-labels, of 1.
      "loss": {
        "pseudo": 1.0,
        "contrast": 0.5,
        "consistency": 0.5,
        "separation": 0.1,
        "margin": 0.2,
        "aligned": 0.2,
        "ramp": 0.375,
        "least_time": 0.3,
      },
      # labelled: share of the steps with labelled images alone. rate: of
      # AdamW, along a cosine to 0; backbone: its share of it.
      "train": {
        "steps": 40_000,
        "labelled": 0.2,
        "rate": 6e-5,
        "backbone": 1.0,
      },
      "optimizer": {"weight_decay": 0.01, "clip_norm": 1.0},
      # For experiments: share of the regions of a pseudo-label map that are
      # made wrong on purpose, and the number of regions.
      "corruption": {"rate": 0.0, "regions": 32},
    }
  )
  return apply(config, variants, VARIANTS)


_UNANCHORED = {
  "trust": {"agreement": False},
  "loss": {"contrast": 0.0, "consistency": 0.0, "separation": 0.0},
}
VARIANTS = {
  "plain": {**_UNANCHORED, "denoiser": {"kind": "plain"}},
  "unanchored": _UNANCHORED,
  "supervised": {
    **_UNANCHORED,
    "denoiser": {"kind": "plain"},
    "trust": {"agreement": False, "threshold": 1.0},
  },
  "all": {"data": {"labelled": 1.0}},
  "unet": {
    "backbone": {
      "name": "unet_stride4",
      "levels": ("up_2",),
      "pretrained": False,
      "train_norm": True,
    },
    "train": {"rate": 1e-3},
  },
  "debug": {
    "batch_size": 4,
    "unlabelled_batch_size": 4,
    "data": {
      "name": "texture_mosaics",
      "root": "",
      "train": "train:16",
      "test": "test:8",
      "labelled": 0.25,
      "image_size": 64,
      "resize_size": 0,
    },
    "backbone": {
      "name": "convnet",
      "levels": ("stage_2", "stage_3"),
      "pretrained": False,
      "weights": "",
      "train_norm": True,
    },
    "denoiser": {"channels": 8, "blocks": 1, "kernel": 3},
    "sampler": {"steps": 2},
    "train": {"steps": 5},
    "teacher": {"decay": 0.9},
  },
}
