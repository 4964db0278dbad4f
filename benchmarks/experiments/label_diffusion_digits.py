"""Pseudo-labels made wrong on purpose: who keeps working?

Embedded scenes of digits, an eighth labelled, equal steps. After the teacher a
share of the regions of each pseudo-label map is exchanged. "full" trusts where
prototypes agree; "no anchors" is the same diffusion without prototypes in loss
and trust; "plain" is a mean teacher of the same encoder and blocks, without
diffusion.
"""

from benchmarks import experiment

QUESTION = "How much does each lose as pseudo-labels become wrong?"

_FILE = "configs/noisy_pseudo_label_diffusion_digits.py"
_SMALL = {
  "train.steps": 300,
  "unlabelled_batch_size": 4,
  "data.train": "train:200",
  "data.test": "test:80",
}
_KINDS = {"full": "", "no anchors": ":unanchored", "plain": ":plain"}
_RATES = (0, 20, 40)

ARMS = {
  f"{kind}, {rate} % wrong": (
    f"{_FILE}{variant}",
    {**_SMALL, "corruption.rate": rate / 100},
  )
  for kind, variant in _KINDS.items()
  for rate in _RATES
}
ARMS["labelled images alone"] = f"{_FILE}:supervised", _SMALL

FIGURES = {
  "Dice": "dice",
  "mIoU": "miou",
  "ECE": "ece",
  "pseudo-labels": "pseudo.accuracy",
  "covered": "pseudo.coverage",
  "covered, right": "pseudo.trusted_accuracy",
  "margin, t = 0.1": "margins.t100",
  "0.5": "margins.t500",
  "0.9": "margins.t900",
}

SEEDS = (0, 1, 2)


def TABLE(found):
  """A row for each arm; its Dice less that with no label made wrong."""
  return experiment.paired(found, _base, "Dice, less at 0 %", "Dice")


def _base(arm):
  kind, _, rate = arm.partition(", ")
  return f"{kind}, 0 % wrong" if rate else arm
