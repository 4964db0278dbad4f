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


def trained(count=1, **changes):
  """State, moments and metrics after some steps on two devices."""
  config = promoe_folder.get_config("debug").unlock()
  for key, value in changes.items():
    config.moe[key] = value
  method = methods.load(config)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  (stage,) = method.stages()
  stage = dataclasses.replace(stage, length=steps(count))
  moments = stage.optimizer.init(state.params)
  for update in descent.fit(stage, state, moments, parallel.key(0)):
    pass
  return update.on_host(stage.sharding), parallel.to_host(update.metrics)


def test_experts_spread_over_two_devices_train_as_whole_ones():
  (state, _), metrics = trained(strategy="capacity", room=1e3)
  (expected, _), others = trained()
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


def test_a_batch_that_leaves_experts_empty_gives_numbers():
  """16 images of 16 tokens, 100 experts."""
  (state, _), metrics = trained(experts=100)
  assert metrics["smallest_share"] == 0
  for leaf in jax.tree.leaves((state.params, metrics)):
    assert np.isfinite(leaf).all()


def test_kmeans_moves_its_centroids_and_nothing_else_does():
  (state, _), _ = trained(routing="kmeans")
  mixture = state.params["network"]["groups"]["block_1"]["feed_forward"]
  np.testing.assert_array_equal(
    mixture["prototypes"], state.memory["centroids"]
  )
  fresh = methods.load(promoe_folder.get_config("debug"))
  assert mixture["prototypes"].shape[1] == fresh.config.moe.experts + 1
  length = np.linalg.norm(mixture["prototypes"], axis=-1)
  # From 0.02 a number towards tokens of a length of sqrt(16): one in a hundred.
  assert (length < 0.3).all()
  assert (length > 0).all()
