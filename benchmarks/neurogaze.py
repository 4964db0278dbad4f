"""What each loss of NeuroGaze-Distill is worth, on the stand-in of digits.

python benchmarks/neurogaze.py [arms] [grids] [--seeds=5] [--json FILE]

arms: all arms of a seed share the teacher, its bank, the image teacher, the
first weights of the student and the order of the images; the student's stage is
then run once for each arm. "shuffled" permutes the cells of the bank, "random"
draws its directions: the claim that the other modality informs the student
holds only if the true bank beats both. Scores are over the classes present,
means over the four shifts of the test images.

grids: how many cells a grid can have. The measurements behind the bank are
drawn again with replacement, subject by subject, 50 times, and the bank is
built anew: "stability" is the mean cosine of its prototypes to those of all
measurements, over the cells that have samples in both.
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
from protojax.methods.neurogaze_distill import grid_bank, modality, outside
from protojax.methods.neurogaze_distill.grid import Grid
from protojax.types import State

# Name -> (arm, keys of the config).
_ARMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
  "CE": ("B0", {}),
  "+ KD": ("B1", {}),
  "+ KD as KL": ("B1", {"kd_mse.form": "kl"}),
  "+ Proto, true bank": ("B2", {}),
  "+ Proto, shuffled bank": ("B2", {"bank.control": "shuffled"}),
  "+ Proto, random bank": ("B2", {"bank.control": "random"}),
  "+ Proto of weight 1, true bank": ("B2", {"proto_kd.weight": 1.0}),
  "+ Proto of weight 1, shuffled bank": (
    "B2",
    {"proto_kd.weight": 1.0, "bank.control": "shuffled"},
  ),
  "+ Proto of weight 1, random bank": (
    "B2",
    {"proto_kd.weight": 1.0, "bank.control": "random"},
  ),
  "+ D-Geo": ("B3", {}),
}
_SIDES, _DRAWS = (3, 5, 7), 50
# Figure -> its place in `outside.summary`.
_FIGURES = {
  "macro F1": ("test", "macro_f1"),
  "shifted macro F1": ("external_mean", "present_macro_f1"),
  "shifted bACC": ("external_mean", "present_bacc"),
  "V of positive classes": ("positive_variance",),
}


def _method(seed: int, arm: str, changes: Mapping[str, Any]) -> Any:
  config = neurogaze_distill_digits.get_config().unlock()
  config.update_from_flattened_dict({"seed": seed, "arm": arm, **changes})
  return methods.load(config.lock())


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


def _shared(seed: int, last: str = "") -> State:
  """What all arms of a seed have: both teachers and a new student.

  Args:
    seed: of the run.
    last: the stage to end with; '' is the one before the student's.
  """
  method = _method(seed, "B3", {})
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(seed)))
  for number, step in enumerate(method.stages(), 1):
    if step.name == "student":
      break
    if isinstance(step, stage.Fit):
      state = _fitted(step, state, seed, number)
    elif step.name != "bank":  # Each arm builds its own.
      state, *_ = step.sweep(state, step.data)
    if step.name == last:
      break
  return state


def _of_arm(
  seed: int, shared: State, arm: str, changes: Mapping[str, Any]
) -> dict[str, float]:
  """The figures of a student that was trained as an arm says."""
  method, state = _method(seed, arm, changes), shared
  for step in method.stages():
    if step.name == "bank":
      _, _, trees = step.sweep(state, step.data)
      state = state.replace(assets=parallel.replicate(dict(trees)))
    elif step.name == "student":
      state = _fitted(step, state, seed, 99)
  found = outside.summary(method, state)
  figures = {}
  for name, place in _FIGURES.items():
    value: Any = found
    for part in place:
      value = value[part]
    figures[name] = float(value)
  return figures


def arms(seeds: int) -> Iterator[harness.Row]:
  """A row for each arm: means and deviations over the seeds.

  The last column is the shifted macro F1 less that of "+ KD", seed by seed.
  """
  found: dict[str, list[dict[str, float]]] = {name: [] for name in _ARMS}
  for seed in range(seeds):
    shared = _shared(seed)
    for name, (arm, changes) in _ARMS.items():
      found[name].append(_of_arm(seed, shared, arm, changes))
      print(f"seed {seed}, {name}: {found[name][-1]}", flush=True)
  base = [figures["shifted macro F1"] for figures in found["+ KD"]]
  for name, of_seeds in found.items():
    row: harness.Row = {"arm": name}
    for figure in _FIGURES:
      row[figure] = harness.spread([figures[figure] for figures in of_seeds])
    own = [figures["shifted macro F1"] for figures in of_seeds]
    row["less + KD"] = harness.spread(np.subtract(own, base).tolist())
    yield row


def grids(seeds: int) -> Iterator[harness.Row]:
  """A row for each grid: facts and stability of its bank, over the seeds."""
  found: dict[int, list[Mapping[str, float]]] = {side: [] for side in _SIDES}
  for seed in range(seeds):
    method, state = _method(seed, "B2", {}), _shared(seed, "teacher")
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
  """Prints the tables that are asked for."""
  tables = {"arms": arms, "grids": grids}
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("table", nargs="*", choices=[*tables, []])
  parser.add_argument("--seeds", type=int, default=5)
  parser.add_argument("--json", default="")
  args = parser.parse_args()
  parallel.setup()
  for name in args.table or tables:
    harness.tell(tables[name](args.seeds), args.json)


if __name__ == "__main__":
  main()
