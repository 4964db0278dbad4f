"""How many cells a grid of prototypes can have (docs/neurogaze_distill.md).

The teacher of a run gives features of the measurements that the bank is built
from. For each grid these are drawn again with replacement, subject by subject,
and the bank is built anew: "stability" is the mean cosine of its prototypes to
those of all measurements, over the cells that have samples in both.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.experiment import Found
from protojax import loading
from protojax.methods.neurogaze_distill import grid_bank, modality
from protojax.methods.neurogaze_distill.grid import Grid

QUESTION = "Does a grid of 7 x 7 cells still hold together?"

ARMS = {
  "teacher": (
    "configs/neurogaze_distill_digits.py",
    # The shortest run with a bank.
    {"arm": "B2", "kd_mse.source": "prototype", "optim.epochs": 1},
  )
}
SIDES = (3, 5, 7)
FIGURES = {
  f"{name} {side}": f"{side}.{name}"
  for side in SIDES
  for name in ("empty_cells", "stability", "distance_correlation")
}
SEEDS = (0, 1, 2, 3, 4)
SETTINGS = {"draws": 50}


def _measured(
  workdir: Path, data: Path, draws: int
) -> Mapping[str, Mapping[str, Any]]:
  """Facts and stability of the bank of each grid."""
  del data
  method, state, _ = loading.load(workdir)
  stream = method.modality.banked()
  found = modality.rows(method.teacher, state, stream)
  features, targets = found["features"], found["target"]
  groups = method.modality.source.groups[stream.source.rows]
  return {
    str(side): _of_grid(features, targets, groups, Grid(side, side), draws)
    for side in SIDES
  }


def _of_grid(
  features: np.ndarray,
  targets: np.ndarray,
  groups: np.ndarray,
  grid: Grid,
  draws: int,
) -> Mapping[str, Any]:
  whole = grid_bank.build(features, targets, grid)
  rng, cosines = np.random.default_rng(0), []
  subjects = [np.flatnonzero(groups == g) for g in np.unique(groups)]
  for _ in range(draws):
    rows = np.concatenate([rng.choice(own, len(own)) for own in subjects])
    drawn = grid_bank.build(features[rows], targets[rows], grid)
    both = whole.filled & drawn.filled
    near = np.sum(whole.prototypes * drawn.prototypes, axis=1)[both]
    cosines.append(near.mean())
  return {**grid_bank.facts(whole), "stability": float(np.mean(cosines))}


MEASURE = _measured


def _by_grid(found: Found) -> Iterator[harness.Row]:
  """A row for each grid: mean and deviation of each figure over the seeds."""
  of_seeds = found["teacher"].values()
  for side in SIDES:
    row: dict[str, Any] = {"cells": f"{side} x {side}"}
    for name in ("empty_cells", "stability", "distance_correlation"):
      values = [figures[f"{name} {side}"] for figures in of_seeds]
      row[name.replace("_", " ")] = harness.spread(values)
    yield row


TABLE = _by_grid
