"""Stages with patience: ended by validation, with the best state, resumable."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from protojax.data import stream
from protojax.engine import stage as stages
from protojax.engine.checkpoint import Checkpoints
from protojax.engine.run import Interrupted, Run
from protojax.engine.terms import Aux, penalty
from protojax.types import State, UserError

# Accuracy on the validation images after each epoch of three steps.
REACHED = (0.2, 0.5, 0.4, 0.5, 0.9, 0.9)


def _init(key):
  del key
  return State(params={"p": jnp.zeros(())}, statistics={}, buffers={})


def _loss(params, state, batch, now):
  """Falls by one for each unit of `p`, which so counts the steps."""
  del state, batch, now
  return {"fall": penalty(-params["p"])}, Aux()


def _fit(source, patience, epochs=6):
  data = stream.shuffled(source, 8, 8, seed=0)
  length = stages.epochs(epochs)
  return stages.Fit(
    "fit", _loss, data, optax.sgd(1.0), length, patience=patience
  )


def _count(state):
  return {"accuracy": float(state.params["p"])}


def _validate(state):
  return {"accuracy": REACHED[round(float(state.params["p"]) / 3) - 1]}


def _events(folder):
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
  ("patience", "best", "steps"), [(0, 6, 18), (1, 2, 9), (2, 2, 12), (3, 5, 18)]
)
def test_it_ends_with_the_best_state(
  tmp_path, array_source, patience, best, steps
):
  run = Run(tmp_path, seed=0)
  fit = _fit(array_source(24), patience)
  state = run.run_stages(_init, [fit], _count, validate=_validate)
  assert state.params["p"] == 3 * best
  (stage,) = run.progress.stages
  assert stage["metrics"]["accuracy"] == 3 * best
  assert stage["validation"]["accuracy"] == REACHED[best - 1]
  events = _events(tmp_path)
  keys = [(e["stage"], e["step"], e["split"]) for e in events]
  assert len(set(keys)) == len(keys)
  assert max(e["step"] for e in events) == steps


def test_patience_watches_the_metric_that_the_stage_names(
  tmp_path, array_source
):
  """Errors are best where they are least."""

  def validate(state):
    return {"error": -_validate(state)["accuracy"], "accuracy": 0.0}

  fit = _fit(array_source(24), 1)
  fit = dataclasses.replace(fit, monitor=("error", "min"))
  run = Run(tmp_path / "run", seed=0)
  state = run.run_stages(_init, [fit], _count, validate=validate)
  assert state.params["p"] == 3 * 2
  with pytest.raises(ValueError, match="best is 'max' or 'min'"):
    dataclasses.replace(fit, monitor=("error", "least"))
  fit = dataclasses.replace(fit, monitor=("loss", "min"))
  run = Run(tmp_path / "unknown", seed=0)
  with pytest.raises(UserError, match=r"watches 'loss'.*error, accuracy"):
    run.run_stages(_init, [fit], _count, validate=validate)
  run.log.close()


def test_the_next_stage_goes_on_from_the_best(tmp_path, array_source):
  run = Run(tmp_path, seed=0)
  fits = [_fit(array_source(24), 1), _fit(array_source(24), 0, epochs=1)]
  state = run.run_stages(_init, fits, _count, validate=_validate)
  assert state.params["p"] == 3 * (2 + 1)
  assert run.progress.stages[1]["validation"] == {"accuracy": REACHED[2]}
  assert run.best is None
  assert run.progress.best == {}


def test_stopped_it_goes_on_with_the_best_so_far(tmp_path, array_source):
  fit = _fit(array_source(24), 2)
  whole = Run(tmp_path / "whole", seed=0)
  expected = whole.run_stages(_init, [fit], _count, validate=_validate)
  run = Run(tmp_path / "stopped", seed=0)

  def validate(state):
    if state.params["p"] == 9:
      run._signal = 15
    return _validate(state)

  with pytest.raises(Interrupted):
    run.run_stages(_init, [fit], _count, validate=validate)
  progress, arrays = Checkpoints(tmp_path / "stopped").restore()
  assert progress.best == {"accuracy": 0.5, "epoch": 2}
  assert (arrays["state.params.p"], arrays["best.params.p"]) == (9, 6)
  again = Run(tmp_path / "stopped", seed=0)
  state = again.run_stages(_init, [fit], _count, validate=_validate)
  assert state.params["p"] == expected.params["p"] == 6
  assert _events(tmp_path / "stopped") == _events(tmp_path / "whole")


@pytest.mark.parametrize(
  ("loss", "rate", "where"),
  # In the middle of an epoch, at its end, and in the state after the last step.
  [(4, 9, "step 5: the loss is nan"), (2, 9, "step 3"), (9, 5, "after step 6")],
)
def test_numbers_that_are_not_finite_end_the_run_before_they_are_saved(
  tmp_path, array_source, loss, rate, where
):
  """After so many steps, which `p` counts, the loss or the rate is nan."""

  def fall(params, state, batch, now):
    del state, batch, now
    value = jnp.where(params["p"] >= loss, jnp.nan, -params["p"])
    return {"fall": penalty(value)}, Aux()

  def falling(count):
    return jnp.where(count >= rate, jnp.nan, 1.0)

  fit = _fit(array_source(24), 0, epochs=2)
  fit = dataclasses.replace(fit, loss=fall, optimizer=optax.sgd(falling))
  for _ in range(2):  # The same command ends in the same way.
    run = Run(tmp_path, seed=0, save_seconds=0.0)
    with pytest.raises(UserError, match=rf"01-fit, {where}.*cannot go on"):
      run.run_stages(_init, [fit], _count)
    run.log.close()
    run.checkpoints.close()
    progress, arrays = Checkpoints(tmp_path).restore()
    assert arrays["state.params.p"] == progress.step
  for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
    json.loads(line, parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("part", ["params", "memory", "assets"])
def test_a_sweep_that_makes_no_finite_numbers_ends_the_run(
  tmp_path, array_source, part
):
  bad = {"p": np.float32(np.inf)}

  def sweep(state, data):
    del data
    if part == "assets":
      return state, {}, {"lens": bad}
    return state.replace(**{part: bad}), {}

  data = stream.ordered(array_source(8), 8, 8)
  run = Run(tmp_path, seed=0)
  with pytest.raises(UserError, match=r"01-bad, after step 1: .*p has numbers"):
    run.run_stages(_init, [stages.Pass("bad", sweep, data)], _count)
  run.log.close()
  assert not Checkpoints(tmp_path).exists()


def test_validation_that_is_not_finite_is_never_the_best(
  tmp_path, array_source
):
  fit = _fit(array_source(24), 3)
  run = Run(tmp_path, seed=0)
  with pytest.raises(UserError, match="step 3: accuracy is nan"):
    run.run_stages(
      _init, [fit], _count, validate=lambda state: {"accuracy": np.nan}
    )
  run.log.close()


def test_without_patience_every_stage_is_validated_once(tmp_path, array_source):
  run = Run(tmp_path, seed=0)
  fit = _fit(array_source(24), 0, epochs=2)
  run.run_stages(_init, [fit], _count, validate=_validate)
  assert run.progress.stages[0]["validation"] == {"accuracy": REACHED[1]}
  splits = [e["split"] for e in _events(tmp_path)]
  assert splits.count("validation") == splits.count("test") == 1
  run = Run(tmp_path / "none", seed=0)
  run.run_stages(_init, [fit], _count)
  assert "validation" not in run.progress.stages[0]
