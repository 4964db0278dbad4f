"""Reasons of regions on mosaics whose classes differ in one characteristic."""

from protojax.evaluation import dense_causes
from protojax.modify.modification import CHARACTERISTICS

QUESTION = "Is a region said to be of its class because of what makes it so?"

# So that a run takes a minute of one core.
_STEPS = {
  "data.train": "train:300",
  "data.test": "test:60",
  "warm.steps": 20,
  "joint.steps": 600,
  "last.steps": 20,
  "group.steps": 20,
  "refine.steps": 100,
}

ARMS = {
  name: (f"configs/scaleprotoseg_planted.py:{name}", _STEPS)
  for name in CHARACTERISTICS
}

FIGURES = {
  "mIoU": "miou",
  **{name: f"shares.{name}" for name in CHARACTERISTICS},
  "cause first": "first",
}

SEEDS = (0,)


def MEASURE(workdir, data):
  """Shares of the importance over regions that are found."""
  del data
  return dense_causes.measure(workdir)
