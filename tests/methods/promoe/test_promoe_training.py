"""Training: experts spread over devices, empty experts, every routing."""

import dataclasses

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_folder
from protojax.engine import descent
from protojax.engine.stage import steps


def trained(**changes):
  """State and moments after a step on two devices, and its metrics."""
  config = promoe_folder.get_config("debug").unlock()
  for key, value in changes.items():
    config.moe[key] = value
  method = methods.load(config)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  (stage,) = method.stages()
  stage = dataclasses.replace(stage, length=steps(1))
  moments = stage.optimizer.init(state.params)
  *_, update = descent.fit(stage, state, moments, parallel.key(0))
  return update.on_host(stage.sharding), parallel.to_host(update.metrics)


@pytest.mark.slow
def test_experts_spread_over_two_devices_train_as_whole_ones():
  (state, _), metrics = trained(strategy="capacity", room=1e3, experts=63)
  (expected, _), others = trained(experts=63)
  assert metrics["dropped"] == 0
  # 256 tokens leave some of so many experts empty.
  assert metrics["smallest_share"] == 0
  for leaf in jax.tree.leaves((state.params, metrics)):
    assert np.isfinite(leaf).all()
  for name, value in others.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
  # Adam's first step is the sign of a gradient, but where that is nothing.
  found, wanted = (
    np.concatenate([x.ravel() for x in jax.tree.leaves(s.params)])
    for s in (state, expected)
  )
  assert found.shape == wanted.shape
  assert (np.abs(found - wanted) < 1e-4).mean() > 0.999


def test_kmeans_moves_the_centroids_of_experts_with_tokens():
  config = promoe_folder.get_config("debug").unlock()
  config.moe.routing = "kmeans"
  method = methods.load(config)
  shapes = jax.eval_shape(method.init, parallel.init_key(0))
  state = jax.tree.map(lambda x: np.ones(x.shape, np.float32), shapes)
  n, e, d = state.memory["centroids"].shape
  assert (n, e) == (2, 4)
  counts = np.float32([[2, 0, 1, 1]] * n)
  load = {"sums": np.full((n, e, d), 10.0, np.float32), "counts": counts}
  memory = method._moved(state, load)
  after = method.follow(state.replace(memory=memory))
  mixture = after.params["network"]["groups"]["block_1"]["feed_forward"]
  # 0.99 of a centroid stays; the means are 5, nothing, 10 and 10.
  np.testing.assert_allclose(
    mixture["prototypes"][..., 0], [[1.04, 1, 1.09, 1.09]] * n, rtol=1e-6
  )
  kept = after.memory["average"]["groups"]["block_1"]["feed_forward"]
  # The average, whose decay is 0.9, follows.
  np.testing.assert_allclose(
    kept["prototypes"][..., 0], [[1.004, 1, 1.009, 1.009]] * n, rtol=1e-6
  )
