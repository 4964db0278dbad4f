"""Optimisers against the rule written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from protojax.train.optimizer import adam, grouped, step_decay
from protojax.types import UserError


def _adam_with_l2(x, gradients, rate, decay):
  """PyTorch's Adam(weight_decay), from its documentation, in float64."""
  x = x.astype(np.float64)
  m, v = np.zeros_like(x), np.zeros_like(x)
  for t, g in enumerate(gradients, 1):
    g = g + decay * x
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    x = x - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
  return x


@pytest.mark.parametrize("decay", [0.0, 1e-3, 0.5])
def test_adam_adds_decay_to_the_gradient(decay):
  rng = np.random.default_rng(0)
  start = rng.normal(size=(4, 3)).astype(np.float32)
  gradients = rng.normal(size=(5, 4, 3)).astype(np.float32)
  rule = adam(3e-3, decay)
  x, state = jnp.asarray(start), rule.init(jnp.asarray(start))
  for g in gradients:
    updates, state = jax.jit(rule.update)(jnp.asarray(g), state, x)
    x = optax.apply_updates(x, updates)
  expected = _adam_with_l2(start, gradients, 3e-3, decay)
  np.testing.assert_allclose(x, expected, atol=2e-6)


def test_step_decay_is_the_papers_table():
  # Joint epochs 5, 6, ... of the paper's run; protopnet.md section 5: factor
  # 1 for epochs 5-8, .1 for 9-13, .01 for 14-18, 1e-5 at 30.
  steps = 7
  rate = step_decay(1.0, 5 * steps, 0.1, offset=steps)
  factors = {
    epoch: float(rate((epoch - 5) * steps)) for epoch in (*range(5, 19), 30)
  }
  for epoch, factor in factors.items():
    expected = 0.1 ** ((epoch - 4) // 5)
    np.testing.assert_allclose(factor, expected, rtol=1e-5)
  # Constant within an epoch.
  assert float(rate(4 * steps - 1)) == 1.0
  np.testing.assert_allclose(float(rate(4 * steps)), 0.1, rtol=1e-6)


def test_groups_not_named_are_frozen():
  params = {"head": jnp.ones(3), "backbone": {"w": jnp.ones(2)}}
  rule = grouped({"head": 0.1})
  gradients = jax.tree.map(jnp.ones_like, params)
  updates, _ = rule.update(gradients, rule.init(params), params)
  moved = optax.apply_updates(params, updates)
  np.testing.assert_array_equal(moved["backbone"]["w"], 1)
  np.testing.assert_allclose(moved["head"], 0.9, atol=1e-6)


def test_unknown_group_is_named():
  with pytest.raises(UserError, match=r"names the groups hed.*backbone, head"):
    grouped({"hed": 0.1}).init({"head": jnp.ones(1), "backbone": jnp.ones(1)})
