"""TCSA-UDA on a folder of volumes: one scanner with labels, one without.

python train.py --config=configs/tcsa_uda_folder.py --config.data.root=DIR

DIR holds classes.txt, and source/ and target/ with images/*.nii.gz and
labels/*.nii.gz each (docs/data.md); labels of the target's training volumes are
never read. --config.data.domain=mr --config.target.domain=ct names the folders
otherwise, and the domains of brats, abdomen and mmwhs.

After the abstract of arXiv 2511.05782 and what its authors' repository shows;
the losses are ours where docs/tcsa_uda.md says so. The defaults are ours, a
U-Net from scratch. Variants: `:paper`, DeepLabV2 on ResNet-101 with both heads
and adversaries, with --config.backbone.weights=FILE of it; `:source`, without
adaptation; `:adversarial`, without relations and centres; `:centres`, without
relations; `:shuffled`, relations of other classes; `:detached`, the loss of the
authors' cached code, which reaches no image feature; and `:debug`, which
shrinks everything and runs on embedded digits where no root is given.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "tcsa_uda",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      # Of each domain.
      "batch_size": 4,
      # The source. Its validation images are all that patience watches.
      "data": {
        "name": "volume_folder",
        "root": "",
        "domain": "source",
        "train": "train",
        "test": "test",
        # Name of the folders of labels.
        "masks": "labels",
        # (): those of classes.txt.
        "classes": (),
        # Value of voxels that have no class; -1: there is none.
        "void": 255,
        # Where a folder has no splits.
        "test_fraction": 0.2,
        "validation_fraction": 0.0,
        # -1: the run's seed.
        "split_seed": -1,
        "crop": False,
        # Slices: axial, coronal or sagittal; intensities that are black and
        # white, (): by percentiles of each volume.
        "axis": "axial",
        "window": (),
        "image_size": 256,
        "augment": "",
        # See docs/data.md.
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
      },
      # What differs in the target; '' and (): as in the source. Its test split
      # is what is scored.
      "target": {"root": "", "domain": "target", "window": ()},
      # widths: of a U-Net, in place of the one named; (): the one named.
      # norm_by_domain: averages of BatchNorm for each domain; those of the
      # target answer.
      "backbone": {
        "name": "unet",
        "widths": (),
        "pretrained": False,
        "weights": "",
        "dtype": "float32",
        "remat": False,
        "norm_by_domain": False,
      },
      # Convolutions before the embedding, and its channels. norm: "batch" or
      # "group", also of a U-Net of other widths.
      "decoder": {
        "widths": (),
        "channels": 64,
        "norm": "group",
        "rectified": False,
      },
      "head": {"hidden": 64},
      # level: of the backbone; '': there is no auxiliary head.
      "auxiliary": {"level": "", "rates": (1, 2), "weight": 0.1},
      # weight: 0, there is no adversary. stride: pixels that are averaged.
      "adversary": {
        "weight": 0.003,
        "auxiliary": 2e-5,
        "width": 64,
        "layers": 3,
        "stride": 1,
      },
      # mode: "relation", "copt" or "gram_parity"; decay and detached are of the
      # last.
      "relations": {
        "mode": "relation",
        "weight": 1.0,
        "decay": 0.5,
        "detached": False,
      },
      "prototypes": {"weight": 1.0, "decay": 0.01},
      # Of the target: small where most views agree, large elsewhere; 0: none.
      # views: of each kind, photometric and Fourier's; each costs a pass.
      "entropy": {"weight": 0.0, "views": 5},
      # kind: "tfidf" or "encoder" of the texts of a JSON (without one, of the
      # classes' names), "array", "matrix" or "strokes". conditioning: a
      # convolution that the words make.
      "text": {
        "kind": "tfidf",
        "file": "",
        "weights": "",
        "shuffled": False,
        "conditioning": False,
      },
      # Optimiser steps of the stages. ramp: share of the second one in which
      # relations, centres and entropy come to their weights. confidence: cells
      # of the target with a lower probability count for no class.
      "warm": {"steps": 2_000},
      "adapt": {
        "steps": 8_000,
        "ramp": 0.125,
        "confidence": 0.0,
        "patience": 0,
      },
      # others: times the rate for what stands behind the backbone.
      "optimizer": {
        "kind": "adamw",
        "rate": 1e-3,
        "others": 1.0,
        "adversary": 1e-4,
        "weight_decay": 1e-2,
        "power": 0.9,
      },
    }
  )
  return apply(config, variants, VARIANTS)


_NONE = {"relations": {"weight": 0.0}}

VARIANTS = {
  "source": {
    **_NONE,
    "prototypes": {"weight": 0.0},
    "adversary": {"weight": 0.0},
  },
  "adversarial": {**_NONE, "prototypes": {"weight": 0.0}},
  "centres": _NONE,
  "shuffled": {"text": {"shuffled": True}},
  "detached": {"relations": {"mode": "gram_parity", "detached": True}},
  "paper": {
    "backbone": {"name": "resnet101_deeplab", "widths": ()},
    "decoder": {
      "widths": (1024, 512, 256, 128),
      "channels": 256,
      "norm": "batch",
      "rectified": True,
    },
    "auxiliary": {"level": "stage_3", "rates": (6, 12, 18, 24)},
    "warm": {"steps": 10_000},
    "adapt": {"steps": 40_000},
    "optimizer": {
      "kind": "sgd",
      "rate": 2.5e-4,
      "others": 10.0,
      "weight_decay": 5e-4,
    },
  },
  "debug": {
    "batch_size": 4,
    "data": {
      "name": "digit_domains",
      "root": "",
      "domain": "source",
      "train": "train:12",
      "test": "test:8",
      "image_size": 64,
      "augment": "",
      "resize_size": 0,
    },
    "target": {"root": "", "domain": "target"},
    "backbone": {
      "name": "convnet",
      "widths": (),
      "pretrained": False,
      "weights": "",
    },
    "decoder": {"widths": (), "channels": 8},
    "head": {"hidden": 8},
    "auxiliary": {"level": "stage_3", "rates": (1, 2)},
    "adversary": {"width": 4, "layers": 2, "stride": 2},
    "warm": {"steps": 3},
    "adapt": {"steps": 3},
  },
}
