"""ScaleProtoSeg on mosaics: what scales, diversity and entropy bring."""

from benchmarks import experiment

QUESTION = "What do scales, diversity and entropy bring on mosaics of textures?"

_FILE = "configs/scaleprotoseg_mosaics.py"
# So that 15 runs take ten minutes of one core.
_STEPS = {
  "data.train": "train:160",
  "data.test": "test:60",
  "warm.steps": 20,
  "joint.steps": 140,
  "last.steps": 20,
  "group.steps": 20,
  "refine.steps": 120,
}

ARMS = {
  "linear head": (f"{_FILE}:plain", _STEPS),
  "ProtoSeg": (
    f"{_FILE}:protoseg",
    # As many prototypes as the others have, 12 of each class.
    {**_STEPS, "prototypes.per_class": 12},
  ),
  "ScaleProtoSeg": (_FILE, _STEPS),
  "without diversity": (_FILE, {**_STEPS, "loss.diversity": 0.0}),
  "without entropy": (_FILE, {**_STEPS, "loss.entropy": 0.0}),
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
