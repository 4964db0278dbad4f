"""GAPL on embedded patches: what adapters and prototypes add on new families.

All arms of a seed see the same patches for the same steps; five families and
four photographs are for testing alone.
"""

from benchmarks import experiment

QUESTION = (
  "What do adapters and prototypes add on families held out of training?"
)

_FILE = "configs/gapl_patches.py"
_FEWER = {"data.train": "train:1200", "data.test": "test:600"}
_STEPS = {"second.epochs": 3}


# Two families in place of six. None is held out for the threshold: as many
# patches are trained on as in the other arms.
_TWO = {
  "data_families": 2,
  "data_validation_fraction": 0.0,
  "data_train": "train:900",
}


def _arm(baseline: str, **changes: float | str) -> tuple[str, dict]:
  more = {key.replace("_", ".", 1): value for key, value in changes.items()}
  return _FILE, {**_FEWER, **_STEPS, "baseline": baseline, **more}


ARMS = {
  "whole": _arm(""),
  "random prototypes": _arm("random"),
  "adapters alone": _arm("lora"),
  "prototypes alone": _arm("prototypes"),
  "frozen, linear": _arm("linear"),
  "linear, 2 families": _arm("linear", **_TWO),
  "adapters, 2 families": _arm("lora", **_TWO),
}

FIGURES = {
  "accuracy": "metrics.accuracy",
  "at the threshold": "metrics.accuracy_held_out",
  "AP": "metrics.ap",
  "worst family": "metrics.worst_generator",
  "trace of f": "metrics.trace_generated",
  "trace mixed": "metrics.trace_mixed",
  "relative": "metrics.trace_mixed_relative",
}

SEEDS = (0, 1, 2)


def TABLE(found):
  """A row for each arm, and its accuracy less that of the frozen encoder."""
  return experiment.paired(
    found, lambda arm: "frozen, linear", "accuracy, less linear"
  )
