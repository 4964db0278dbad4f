"""Reasons of PEM's segments on mosaics that differ in one characteristic."""

from protojax.evaluation import dense_causes
from protojax.modify.modification import CHARACTERISTICS

QUESTION = "Are a segment's tokens similar because of what makes its class?"

# So that a run takes a minute and a half of one core. After so few steps few
# segments have a class as probable as `found.score` asks for by default.
_STEPS = {
  "data.train": "train:300",
  "data.test": "test:60",
  "train.steps": 450,
  "train.rate": 1e-3,
  "loss.points": 256,
  "found.score": 0.5,
}

ARMS = {
  name: (f"configs/pem_planted.py:{name}", _STEPS) for name in CHARACTERISTICS
}

FIGURES = {
  "mIoU": "miou",
  "segments": "regions",
  **{name: f"shares.{name}" for name in CHARACTERISTICS},
  "cause first": "first",
}

SEEDS = (0,)


def MEASURE(workdir, data):
  """Shares of the importance over segments that are found."""
  del data
  return dense_causes.measure(workdir)
