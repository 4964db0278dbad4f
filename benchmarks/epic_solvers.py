"""Ways to find EPIC's U, and what a run says of them (docs/classifiers.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import experiment
from protojax import loading
from protojax.engine.stage import Fit

# Name -> changes of the config.
SOLVERS = {
  "the paper's descent on pairs": {
    "rotation.kind": "orthogonal",
    "rotation.solver": "adam",
    "rotation.rounds": 10,
    "data.validation_fraction": 0.0,
  },
  "closed form, whitened and turned (default)": {},
  "closed form, turned alone, no inertia": {
    "rotation.kind": "orthogonal",
    "rotation.inertia": 0.0,
  },
}

FIGURES = {
  "held out, before": "purity.held_out.before.mean",
  "held out, after": "purity.held_out.after.mean",
  "train, after": "purity.train.after.mean",
  "steps of gradient descent": "steps",
}


def measured(workdir: Path, data: Path) -> Mapping[str, Any]:
  """What a run says of itself, and the steps that its U took."""
  method, _, _ = loading.load(workdir)
  steps = sum(
    stage.total_steps
    for stage in method.stages()
    if isinstance(stage, Fit) and stage.name == "purify"
  )
  return {**experiment.summary(workdir, data), "steps": steps}
