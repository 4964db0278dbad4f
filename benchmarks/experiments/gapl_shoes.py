"""GAPL on real and generated pictures of shoes, of one family of generators.

The folders are made by `benchmarks/shoes.py`, near-copies on one side.
"""

from benchmarks import experiment

QUESTION = "What does GAPL add to a frozen encoder on pictures of shoes?"

_FILE = "configs/gapl_folder.py"
_HERE = {
  "data.root": "shoes",
  "data.image_size": 96,
  "data.resize": "squash",
  "data.resize_size": 0,
  "data.augment": "flip",
  "prototypes.count": 32,
  "first.rate": 3e-3,
  "second.epochs": 4,
  "second.rate": 2e-3,
}


def _arm(baseline: str) -> tuple[str, dict]:
  return _FILE, {**_HERE, "baseline": baseline}


ARMS = {"whole": _arm(""), "frozen, linear": _arm("linear")}

FIGURES = {
  "accuracy": "metrics.accuracy",
  "AP": "metrics.ap",
  "on real": "metrics.real_accuracy",
  "on generated": "metrics.generated_accuracy",
}

SEEDS = (0, 1, 2)


def TABLE(found):
  """A row for each arm, and its accuracy less that of the frozen encoder."""
  return experiment.paired(
    found, lambda arm: "frozen, linear", "accuracy, less linear"
  )
