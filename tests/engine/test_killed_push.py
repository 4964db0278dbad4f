"""A push that is killed among its images ends as one that is not."""

import jax.numpy as jnp
import numpy as np
import pytest

from protojax.engine import stage as stages
from protojax.engine.checkpoint import Checkpoints
from protojax.engine.run import Run
from protojax.prototypes import push, similarity
from protojax.prototypes.bank import Provenance, bank_of, with_bank
from protojax.types import State
from tests.prototypes.streams import ArrayStream, embed, photographs


class Killed(BaseException):
  """What ends a process; no handler of errors sees it."""


class Streamed(ArrayStream):
  """A stream whose process is killed after so many batches."""

  lives = 1_000

  def __len__(self):
    return len(self.images)

  def batches(self):
    for number, batch in enumerate(super().batches()):
      if number == self.lives:
        raise Killed
      yield batch


def _init(key):
  del key
  prototypes = np.random.default_rng(1).uniform(size=(6, 1, 1, 3))
  return State(
    params={
      "add_on": {"gain": jnp.float32(1.0)},
      "prototypes": {"prototypes": jnp.float32(prototypes)},
      "head": {"weight": jnp.zeros((3, 6))},
    },
    statistics={},
    buffers={
      "class_of": jnp.repeat(jnp.arange(3), 2),
      "alive": jnp.ones(6, bool),
      "provenance": Provenance.empty(6),
    },
  )


def _run(folder, stream):
  """Two passes, of which the second one pushes; the gain after each."""
  gains = []

  def begin(state, data):
    del data
    params = {**state.params, "add_on": {"gain": np.float32(1.5)}}
    gains.append(1.5)
    return state.replace(params=params), {}

  def pushed(state, data):
    metric = similarity.load("log")
    vectors, source, metrics = push.push(embed, state, data, metric)
    bank = bank_of(state).replace(vectors=vectors, provenance=source)
    gains.append(float(state.params["add_on"]["gain"]))
    return with_bank(state, bank), metrics

  run = Run(folder, seed=0, loggers=())
  passes = stages.Pass("begin", begin, stream), stages.Pass("p", pushed, stream)
  try:
    run.run_stages(_init, passes, lambda state: {})
  finally:
    run.log.close()
    run.checkpoints.close()
  return gains


def test_it_begins_again_and_ends_the_same(tmp_path):
  stream = Streamed(*photographs(60))
  assert _run(tmp_path / "whole", stream) == [1.5, 1.5]
  stream.lives = 8
  with pytest.raises(Killed):
    _run(tmp_path / "killed", stream)
  stream.lives = 1_000
  # What was done before the push is not done again.
  assert _run(tmp_path / "killed", stream) == [1.5]
  (one, whole), (other, killed) = (
    Checkpoints(tmp_path / name).restore() for name in ("whole", "killed")
  )
  assert one.stages[1]["metrics"] == other.stages[1]["metrics"]
  assert sorted(whole) == sorted(killed)
  for name, array in whole.items():
    np.testing.assert_array_equal(killed[name], array)
  assert (whole["state.buffers.provenance.image"] >= 0).all()
