"""How many cells a grid of NeuroGaze-Distill can have, on the digits.

python benchmarks/neurogaze.py [--seeds=5] [--json FILE]

The measurements behind the bank are drawn again with replacement, subject by
subject, 50 times, and the bank is built anew: "stability" is the mean cosine of
its prototypes to those of all measurements, over the cells that have samples in
both. What each loss is worth is an experiment, `neurogaze_digits`.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
import sys
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import methods, parallel
from protojax.configs import neurogaze_distill_digits
from protojax.engine import descent, stage
from protojax.methods.neurogaze_distill import grid_bank, modality
from protojax.methods.neurogaze_distill.grid import Grid
from protojax.types import State

_SIDES, _DRAWS = (3, 5, 7), 50


def _taught(seed: int) -> tuple[Any, State]:
  """The method, and its state after the teacher's stage."""
  config = neurogaze_distill_digits.get_config().unlock()
  config.seed = seed
  method = methods.load(config.lock())
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(seed)))
  for number, step in enumerate(method.stages(), 1):
    if isinstance(step, stage.Fit):
      return method, _fitted(step, state, seed, number)
    state, *_ = step.sweep(state, step.data)
  raise AssertionError("the teacher is the first stage that is fitted")


def _fitted(fit: stage.Fit, state: State, seed: int, number: int) -> State:
  """The state after a stage of gradient descent."""
  moments = fit.optimizer.init(state.params)
  key = jax.random.fold_in(parallel.key(seed), number)
  update = None
  for update in descent.fit(fit, state, moments, key):
    jax.block_until_ready(update.metrics["loss"])
  assert update is not None
  after, _ = update.on_host(fit.sharding)
  return after.replace(assets=state.assets)


def grids(seeds: int) -> Iterator[harness.Row]:
  """A row for each grid: facts and stability of its bank, over the seeds."""
  found: dict[int, list[Mapping[str, float]]] = {side: [] for side in _SIDES}
  for seed in range(seeds):
    method, state = _taught(seed)
    stream = method.modality.banked()
    made = modality.rows(method.teacher, state, stream)
    groups = method.modality.source.groups[stream.source.rows]
    for side in _SIDES:
      found[side].append(
        _of_grid(made["features"], made["target"], groups, Grid(side, side))
      )
  for side, of_seeds in found.items():
    row: harness.Row = {"cells": f"{side} x {side}"}
    for name in of_seeds[0]:
      values = [figures[name] for figures in of_seeds]
      row[name.replace("_", " ")] = harness.spread(values)
    yield row


def _of_grid(
  features: np.ndarray, targets: np.ndarray, groups: np.ndarray, grid: Grid
) -> Mapping[str, float]:
  whole = grid_bank.build(features, targets, grid)
  rng, cosines = np.random.default_rng(0), []
  subjects = [np.flatnonzero(groups == g) for g in np.unique(groups)]
  for _ in range(_DRAWS):
    drawn_rows = np.concatenate([rng.choice(x, len(x)) for x in subjects])
    drawn = grid_bank.build(features[drawn_rows], targets[drawn_rows], grid)
    both = whole.filled & drawn.filled
    near = np.sum(whole.prototypes * drawn.prototypes, axis=1)[both]
    cosines.append(near.mean())
  return {**grid_bank.facts(whole), "stability": float(np.mean(cosines))}


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--seeds", type=int, default=5)
  parser.add_argument("--json", default="")
  args = parser.parse_args()
  parallel.setup()
  harness.tell(grids(args.seeds), args.json)


if __name__ == "__main__":
  main()
