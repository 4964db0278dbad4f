"""Training: experts spread over devices, empty experts, every routing."""

import dataclasses

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_folder
from protojax.engine import descent
from protojax.engine.stage import steps

pytestmark = pytest.mark.slow


def trained(**changes):
  """The first state; state and moments after a step on two devices; metrics."""
  config = promoe_folder.get_config("debug").unlock()
  for key, value in changes.items():
    config.moe[key] = value
  method = methods.load(config)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  (stage,) = method.stages()
  stage = dataclasses.replace(stage, length=steps(1))
  moments = stage.optimizer.init(state.params)
  *_, update = descent.fit(stage, state, moments, parallel.key(0))
  after = update.on_host(stage.sharding)
  return state, after, parallel.to_host(update.metrics)


def test_experts_spread_over_two_devices_train_as_whole_ones():
  _, (state, _), metrics = trained(strategy="capacity", room=1e3)
  _, (expected, _), others = trained()
  assert metrics["dropped"] == 0
  for name, value in others.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
  # Adam's first step is the sign of a gradient, but where that is nothing.
  found, wanted = (
    np.concatenate([x.ravel() for x in jax.tree.leaves(s.params)])
    for s in (state, expected)
  )
  assert found.shape == wanted.shape
  assert (np.abs(found - wanted) < 1e-4).mean() > 0.999


def test_kmeans_moves_its_centroids_and_leaves_those_without_a_token():
  """100 experts and one more for the tokens of 16 images, 16 each."""
  begun, (state, _), metrics = trained(routing="kmeans", experts=100)
  assert metrics["smallest_share"] == 0
  for leaf in jax.tree.leaves((state.params, metrics)):
    assert np.isfinite(leaf).all()
  mixture = state.params["network"]["groups"]["block_1"]["feed_forward"]
  found = mixture["prototypes"]
  np.testing.assert_array_equal(found, state.memory["centroids"])
  still = found == begun.memory["centroids"]
  # All of a centroid moves, or nothing.
  assert (still.all(axis=-1) == still.any(axis=-1)).all()
  assert 0 < still.all(axis=-1).mean() < 1
