"""What a method does in each of its stages, in numbers, and that it resumes.

Every stage starts from a state on disk, so that the same can be had on other
devices: in the process of the tests, and in those of `worker.py`.
"""

import dataclasses
import functools
import importlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from protojax import methods, parallel
from protojax import report as report_lib
from protojax.engine import assets, descent
from protojax.engine import stage as stages
from protojax.engine.checkpoint import Checkpoints, Progress, flatten, unflatten
from protojax.engine.run import Run, slug
from protojax.explain.request import Request
from protojax.methods import base
from protojax.modify import presets
from protojax.types import State

# Of every stage of gradient descent. Many more would not agree: of a hundred
# thousand ReLUs one is so near its kink that 1e-6 of rounding switches it, and
# Adam makes whole steps of gradients that are nothing but rounding.
STEPS = 4
EXPLAINED = 4
# One modification compiles sooner than six.
PRESET = presets.load("contrast=0.45", "fast", "none")


def load(name: str) -> Any:
  """The method, shrunk, on embedded data; by a dotted name, a toy."""
  place = f"{name}.config" if "." in name else _config(name)
  module = importlib.import_module(place)
  return methods.load(module.get_config("debug"))


def _config(name: str) -> str:
  """Of a method of ours; one that is of an embedded world has no folder."""
  kind = "folder" if Path(f"configs/{name}_folder.py").exists() else "scenes"
  return f"configs.{name}_{kind}"


def resume(method: Any, folder: Path) -> State:
  """The last state of the run in FOLDER/run, which goes on to its end."""
  short = [
    dataclasses.replace(stage, length=stages.steps(STEPS))
    if isinstance(stage, stages.Fit)
    else stage
    for stage in method.stages()
  ]
  run = Run(folder / "run", method.config.seed)
  state = run.run_stages(
    method.init, short, lambda state: {}, assets=method.assets
  )
  return state.replace(assets={})


def numbers(
  method: Any, folder: Path, begin: bool = False
) -> dict[str, np.ndarray]:
  """What every stage makes of its state in FOLDER, and the last one's answers.

  Args:
    method: from `load`.
    folder: of the states.
    begin: start at random, each stage with what the one before it made, and
      leave these states in FOLDER. In FOLDER/run is then what a process would
      have left that was killed within the last stage of gradient descent.

  Returns:
    "STAGE losses" of the steps and "STAGE moments.*" after the first of them,
    or "STAGE state.*"; of the last state "metrics.*" of the test images and
    "rows.*" of some of them.
  """
  found: dict[str, Any] = {}
  every = list(method.stages())
  fits = [n for n, s in enumerate(every, 1) if isinstance(s, stages.Fit)]
  last = max(fits, default=0)
  state: Any = None
  if begin:
    state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
    state = state.replace(assets=_assets(method, folder))
  for number, stage in enumerate(every, 1):
    state = _given(method, folder, number, state if begin else None)
    name = f"{number:02d}-{slug(stage.name)}"
    if isinstance(stage, stages.Pass):
      state, _, *trees = stage.sweep(state, stage.data)
      made = flatten({"state": state.replace(assets={}), "assets": trees})
      if trees and begin:
        _keep(method, folder, name, trees[0])
      state = state.replace(assets=_assets(method, folder))
    else:
      run = folder / "run" if begin and number == last else None
      state, made = _fit(stage, number, state, run, _digests(folder))
    found.update({f"{name} {key}": x for key, x in made.items()})
  state = _given(method, folder, len(every) + 1, state if begin else None)
  test = method.stream("test")
  metrics = method.evaluate(state, "test")
  found.update({f"metrics.{key}": x for key, x in metrics.items()})
  _, rows = next(parallel.each(method.predict, state, test.spread(EXPLAINED)))
  found.update({f"rows.{key}": x[:EXPLAINED] for key, x in rows.items()})
  return found


def _given(
  method: Any, folder: Path, number: int, state: State | None
) -> State:
  """The state before a stage: the one kept, or this one, which is then kept."""
  if state is None:
    return restore(method, folder, number)
  folder.mkdir(parents=True, exist_ok=True)
  arrays = flatten({"state": state.replace(assets={})})
  np.savez(folder / f"state-{number}.npz", **arrays)
  return state


def _assets(method: Any, folder: Path) -> dict[str, Any]:
  """On the devices, with those that stages have made so far."""
  made = tuple(sorted(_digests(folder).items()))
  return _replicated(method, folder / "run", made)


@functools.lru_cache(maxsize=1)
def _replicated(
  method: Any, run: Path, made: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
  trees = assets.found(method.assets, run, dict(made), {})
  return parallel.replicate(trees)


def _keep(method: Any, folder: Path, name: str, trees: Any) -> None:
  """Leaves assets that a stage has made in FOLDER/run, as a `Run` does."""
  made = assets.of_stage(method.assets, folder / "run", name, trees)
  path = folder / "assets.json"
  path.write_text(json.dumps({**_digests(folder), **made}), encoding="utf-8")


def _digests(folder: Path) -> dict[str, str]:
  """Digest of each asset that a stage has made, by name."""
  path = folder / "assets.json"
  if not path.exists():
    return {}
  return json.loads(path.read_text(encoding="utf-8"))


def _fit(
  stage: stages.Fit,
  number: int,
  state: State,
  run: Path | None,
  made: dict[str, str],
) -> tuple[State, dict[str, np.ndarray]]:
  """Some steps, as a `Run` of seed 0 does them; kept in RUN half way.

  Args:
    stage, number, state, run: of the steps.
    made: digests of the assets that stages have made before.
  """
  short = dataclasses.replace(stage, length=stages.steps(STEPS))
  moments = stage.optimizer.init(state.params)
  key = jax.random.fold_in(parallel.key(0), number)
  losses, first = [], {}
  for step, update in enumerate(descent.fit(short, state, moments, key), 1):
    losses.append(float(parallel.to_host(update.metrics["loss"])))
    first = first or flatten({"moments": update.optimizer_state})
    for leaf in jax.tree.leaves(update[:2]):
      copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
      for copy in copies[1:]:
        np.testing.assert_array_equal(copies[0], copy)
    after, moments = parallel.to_host(update[:2])
    state = after.replace(assets=state.assets)
    if run is not None and step == STEPS // 2:
      name = stage.optimizer_id or f"{number:02d}-{slug(stage.name)}"
      checkpoints = Checkpoints(run)
      progress = Progress(number, step)
      progress.assets = made
      checkpoints.save(progress, state, {name: moments})
      checkpoints.close()
  return state, {"losses": np.array(losses), **first}


def explain(method: Any, folder: Path, into: Path) -> None:
  """Writes all files of an explanation of some test images."""
  state = restore(method, folder, len(list(method.stages())) + 1)
  explains = base.needed(method, "explains")
  write = report_lib.load(explains.report)
  notes = methods.notes(method.config.method)
  formats = ("html", "csv", "json")
  with write(into, folder / "run", PRESET, formats, notes) as report:
    request = Request(
      scope="both" if "global" in explains.scopes else "local",
      preset=PRESET,
      limit=EXPLAINED,
      progress=lambda images: report.seen("test", images),
    )
    data = method.stream("test")
    for explanation in explains.explain(state, data, request):
      if parallel.is_primary():
        report.add(explanation)
    report.finish()


def restore(method: Any, folder: Path, number: int) -> State:
  """The state before a stage, by its number."""
  template = jax.eval_shape(method.init, parallel.init_key(0))
  with np.load(folder / f"state-{number}.npz") as arrays:
    state = unflatten({"state": template}, dict(arrays))["state"]
  return state.replace(assets=_assets(method, folder))
