"""Runs that version 0.1 wrote still load: its configs, arrays and stages.

`runs_of_0_1.json` holds of a debug run of each method: the config, the classes,
the ids of its stages, type and shape of every array of its last checkpoint.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.engine import assets, workdir
from protojax.engine.checkpoint import flatten, unflatten
from protojax.engine.run import slug
from protojax.engine.stage import Fit

RUNS = json.loads(Path(__file__).with_name("runs_of_0_1.json").read_text())


@pytest.fixture(params=RUNS)
def run(request, tmp_path):
  """What was written, and the method that is made from it now."""
  found = RUNS[request.param]
  (tmp_path / "config.json").write_text(json.dumps(found["config"]))
  if found["classes"]:
    (tmp_path / "classes.json").write_text(json.dumps(found["classes"]))
  config, names = (
    workdir.load_config(tmp_path, methods.later),
    workdir.class_names(tmp_path),
  )
  return found, methods.load(config, names)


def test_every_array_has_its_place(run, tmp_path):
  found, method = run
  arrays = {
    name: np.zeros(shape, dtype)
    for name, (dtype, *shape) in found["arrays"].items()
  }
  template = jax.eval_shape(method.init, parallel.init_key(0))
  state = unflatten({"state": template}, arrays)
  there = {name: x.shape for name, x in flatten(state).items()}
  # What is never trained was in the state, and is an asset now.
  trees = assets.found(method.assets, tmp_path, {}, arrays)
  for name, tree in trees.items():
    for entry, place in method.assets[name].earlier.items():
      moved = flatten({"state": {place: tree[entry]}})
      there |= {key: x.shape for key, x in moved.items()}
  was = {n: x.shape for n, x in arrays.items() if n.startswith("state.")}
  assert there == was


def test_moments_that_stages_share_have_their_place(run):
  found, method = run
  arrays = {
    name: np.zeros(shape, dtype)
    for name, (dtype, *shape) in found["arrays"].items()
  }
  template = jax.eval_shape(method.init, parallel.init_key(0))
  shared = {
    stage.optimizer_id: stage.optimizer
    for stage in method.stages()
    if isinstance(stage, Fit) and stage.optimizer_id
  }
  stored = {n for n in arrays if n.startswith("optimizers.")}
  placed = set()
  for name, optimizer in shared.items():
    if any(n.startswith(f"optimizers.{name}.") for n in stored):
      moments = jax.eval_shape(optimizer.init, template.params)
      tree = {"optimizers": {name: moments}}
      placed |= set(flatten(unflatten(tree, arrays)))
  assert placed == stored


def test_stages_are_called_as_they_were(run):
  found, method = run
  now = [
    f"{number:02d}-{slug(stage.name)}"
    for number, stage in enumerate(method.stages(), 1)
  ]
  assert now == found["stages"]
