"""Training: experts spread over devices, empty experts, k-means."""

import dataclasses

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_folder
from protojax.engine import descent
from protojax.engine.checkpoint import Checkpoints, Progress, flatten
from protojax.engine.run import Run
from protojax.engine.stage import steps


def made(**changes):
  """The method, and its stage, of two steps."""
  config = promoe_folder.get_config("debug").unlock()
  for key, value in changes.items():
    config.moe[key] = value
  method = methods.load(config)
  (stage,) = method.stages()
  return method, dataclasses.replace(stage, length=steps(2))


def trained(method, stage):
  """State and moments after each step on two devices, and its metrics."""
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  moments = stage.optimizer.init(state.params)
  key = jax.random.fold_in(parallel.key(0), 1)
  for update in descent.fit(stage, state, moments, key):
    yield *update.on_host(stage.sharding), parallel.to_host(update.metrics)


@pytest.fixture(scope="module")
def spread():
  """Of a method whose experts are spread over two devices."""
  method, stage = made(strategy="capacity", room=1e3, experts=63)
  return method, stage, list(trained(method, stage))


@pytest.mark.slow
def test_experts_spread_over_two_devices_train_as_whole_ones(spread):
  *_, [(state, _, metrics), _] = spread
  expected, _, others = next(trained(*made(strategy="dense_all", experts=63)))
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


@pytest.mark.slow
def test_spread_experts_resumed_end_the_same(spread, tmp_path):
  """To the last bit, from the checkpoint of a run killed after a step."""
  method, stage, [(state, moments, _), (whole, _, _)] = spread
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(Progress(stage=1, step=1), state, {"01-train": moments})
  checkpoints.close()
  run = Run(tmp_path, seed=0)
  resumed = run.run_stages(method.init, [stage], lambda state: {})
  assert run.progress.total_steps == 1  # The other one.
  expected = flatten({"state": whole})
  found = flatten({"state": resumed})
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array, err_msg=name)
  moved = [
    np.abs(x - y).max()
    for x, y in zip(
      jax.tree.leaves(whole.params), jax.tree.leaves(state.params), strict=True
    )
  ]
  assert max(moved) > 0


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
