"""ScaleProtoSeg on mosaics: what scales, diversity and entropy bring."""

QUESTION = "What do scales, diversity and entropy bring on mosaics of textures?"

_FILE = "configs/scaleprotoseg_mosaics.py"

ARMS = {
  "linear head": (f"{_FILE}:plain", {}),
  "ProtoSeg": (
    f"{_FILE}:protoseg",
    # As many prototypes as the others have, 12 of each class.
    {"prototypes.per_class": 12},
  ),
  "ScaleProtoSeg": (_FILE, {}),
  "without diversity": (_FILE, {"loss.diversity": 0.0}),
  "diversity of similarities": (_FILE, {"loss.on": "similarity"}),
  "without entropy": (_FILE, {"loss.entropy": 0.0}),
}

FIGURES = {
  "mIoU": "miou",
  "boundary IoU": "boundary_iou",
  "pixel accuracy": "pixel_accuracy",
}

SEEDS = (0, 1, 2)
