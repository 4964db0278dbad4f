"""ScaleProtoSeg and PEM on small road frames, on levels of EfficientNet-Lite0.

The backbone rests, so that all arms read the same features, which are computed
once for each run; PEM reads a finer level, too.
"""

from benchmarks import experiment

QUESTION = "What do prototypes and tokens cost on road frames?"

_FILE = "configs/scaleprotoseg_folder.py"
_CLASSES = (
  *("sky", "building", "pole", "road", "pavement", "tree", "sign"),
  *("fence", "car", "pedestrian", "cyclist"),
)
# Frames of 240 x 180 pixels become squares.
_FRAMES = {
  "data.root": "camvid_small",
  "data.masks": "annot",
  "data.void": 11,
  "data.classes": _CLASSES,
  "data.image_size": 128,
  "data.augment": "",
  "batch_size": 8,
}
_DATA = {
  **_FRAMES,
  "aspp.channels": 32,
  "warm.steps": 20,
  "warm.aspp": 2e-3,
  "warm.prototypes": 2e-3,
  "joint.steps": 180,
  "joint.backbone": 0.0,
  "joint.aspp": 3e-3,
  "joint.prototypes": 3e-3,
  "last.steps": 30,
  "last.head": 1e-3,
  "group.steps": 30,
  "group.weights": 2e-3,
  "refine.steps": 80,
  "refine.weights": 1e-3,
  "refine.head": 2.5e-4,
}

ARMS = {
  "linear head": (f"{_FILE}:plain", _DATA),
  "ProtoSeg": (f"{_FILE}:protoseg", {**_DATA, "prototypes.per_class": 12}),
  # In 80 steps the head of the groups unlearns the rare classes
  # (docs/scaleprotoseg.md).
  "ScaleProtoSeg": (_FILE, {**_DATA, "refine.head": 0.0}),
  "PEM": (
    "configs/pem_folder.py",
    {
      **_FRAMES,
      "train.steps": 300,
      "train.rate": 2e-3,
      "train.backbone": 0.0,
      "decoder.queries": 30,
      "decoder.channels": 128,
      "decoder.width": 256,
      "pixels.channels": 64,
      "pixels.mask_channels": 64,
      "loss.points": 512,
    },
  ),
}

FIGURES = {
  "mIoU": "miou",
  "boundary IoU": "boundary_iou",
  "pixel accuracy": "pixel_accuracy",
  "overlap": "overlap",
  "shared tops": "shared_tops",
  "used per class": "used_per_class",
  "changed": "changed",
}

SEEDS = (0, 1, 2)


def MEASURE(workdir, data):
  """The summary; None for what an arm without prototypes or groups lacks."""
  return {
    **dict.fromkeys(FIGURES.values()),
    **experiment.summary(workdir, data),
  }
