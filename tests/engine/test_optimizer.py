"""Optimisers against the rule written out in NumPy."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from protojax import parallel
from protojax.engine.optimizer import (
  adam,
  drops_at,
  grouped,
  in_turn,
  scheduled,
  stable_adamw,
  step_decay,
  warmup_cosine,
)
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


def _stable_adamw(x, gradients, rate, decay, clip_threshold=1.0, amsgrad=True):
  """One tensor through the rule of INP-Former's code, in float64."""
  x = x.astype(np.float64)
  m, v, largest = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
  for t, g in enumerate(gradients, 1):
    x = x * (1 - rate * decay)
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * np.float64(g) ** 2
    largest = np.maximum(largest, v) if amsgrad else v
    u = np.sqrt(largest) / np.sqrt(1 - 0.999**t) + 1e-10
    rho = max(1.0, np.sqrt(np.mean((g / u) ** 2)) / clip_threshold)
    x = x - rate / (1 - 0.9**t) / rho * m / u
  return x


@jax.jit(static_argnames="rule")
def _stepped(rule, x, gradients):
  """Parameters after all steps."""

  def step(carry, g):
    x, state = carry
    updates, state = rule.update(g, state, x)
    return (optax.apply_updates(x, updates), state), None

  (x, _), _ = jax.lax.scan(step, (x, rule.init(x)), gradients)
  return x


# Gradients that shrink, so that the largest square is an old one; that grow,
# so that the step is cut; and of one size.
_SIZES = {
  "shrinking": [1.0, 0.3, 0.1, 0.03, 0.01],
  "growing": [0.01, 0.1, 1.0, 10.0, 100.0],
  "steady": [1.0, -1.0, 1.0, 1.0, -1.0],
}


def _drawn(sizes):
  rng = np.random.default_rng(0)
  start = rng.normal(size=(4, 3)).astype(np.float32)
  gradients = rng.normal(size=(len(_SIZES[sizes]), 4, 3))
  gradients *= np.array(_SIZES[sizes])[:, None, None]
  return start, gradients.astype(np.float32)


@pytest.mark.parametrize("amsgrad", [True, False])
@pytest.mark.parametrize("sizes", _SIZES)
def test_stable_adamw_is_the_papers(sizes, amsgrad):
  start, gradients = _drawn(sizes)
  rule = stable_adamw(0.01, 0.5, amsgrad=amsgrad)
  x = _stepped(rule, start, gradients)
  expected = _stable_adamw(start, gradients, 0.01, 0.5, amsgrad=amsgrad)
  np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)
  # So many steps of 0.01 at most: the formula is not lost in the start.
  np.testing.assert_allclose(x - start, expected - start, rtol=1e-5, atol=5e-7)


def test_stable_adamw_clips_the_step_that_outruns_its_moments():
  start, gradients = _drawn("growing")
  clipped = _stable_adamw(start, gradients, 0.01, 0.0)
  free = _stable_adamw(start, gradients, 0.01, 0.0, np.inf)
  assert np.abs(clipped - free).max() > 1e-3
  rule = stable_adamw(0.01, 0.0, clip_threshold=100.0)
  np.testing.assert_allclose(
    _stepped(rule, start, gradients), free, rtol=1e-6, atol=1e-6
  )


def test_stable_adamw_is_amsgrad_where_nothing_is_clipped():
  # Of one absolute value: RMS is one, and Optax, which takes the largest after
  # correcting the bias, takes the same.
  start, gradients = _drawn("steady")
  gradients = np.sign(gradients) * np.abs(gradients[:1])
  np.testing.assert_allclose(
    _stepped(stable_adamw(0.01, 0.0), start, gradients),
    _stepped(optax.amsgrad(0.01, eps=1e-10), start, gradients),
    rtol=1e-6,
    atol=1e-6,
  )


def test_stacked_tensors_count_for_themselves():
  start, gradients = _drawn("growing")
  # The first block's gradients stand still, so that its step is not cut.
  gradients[:, 0] = gradients[:1, 0]
  x = _stepped(stable_adamw(0.01, 0.5, stacked=True), start, gradients)
  for block in range(len(start)):
    alone = _stable_adamw(start[block], gradients[:, block], 0.01, 0.5)
    np.testing.assert_allclose(x[block], alone, rtol=1e-6, atol=1e-6)
  together = _stable_adamw(start, gradients, 0.01, 0.5)
  assert np.abs(x[0] - together[0]).max() > 1e-3


def test_stable_adamw_follows_a_schedule_and_counts_in_its_state():
  start, gradients = _drawn("steady")
  rule = stable_adamw(lambda count: 0.01 * (count == 1), 0.5)
  state = rule.init(start)
  first, state = rule.update(gradients[0], state, start)
  second, state = rule.update(gradients[1], state, start)
  np.testing.assert_array_equal(first, 0.0)
  assert np.abs(second).min() > 0
  assert state.count == 2
  assert state.count.dtype == np.int32


def test_a_config_says_whether_its_rate_falls():
  group = ConfigDict({"rate": 1e-3, "cosine": False, "warmup": 10})
  assert scheduled(group, 50) == 1e-3
  group.cosine = True
  rate = scheduled(group, 50)
  np.testing.assert_allclose(
    [rate(0), rate(10), rate(30), rate(50)], [0, 1e-3, 5e-4, 0], atol=1e-9
  )


def test_warmup_cosine_has_its_three_points():
  rate = warmup_cosine(1e-3, 100, 500, 1e-4)
  counts = [0, 50, 100, 300, 500, 600]
  expected = [0.0, 5e-4, 1e-3, 5.5e-4, 1e-4, 1e-4]
  np.testing.assert_allclose([rate(c) for c in counts], expected, rtol=1e-5)


def test_training_that_ends_in_its_warmup_still_warms_up():
  rate = warmup_cosine(1e-3, 100, 10, 1e-4)
  np.testing.assert_allclose([rate(0), rate(5), rate(10)], [0, 5e-4, 1e-3])


def test_step_decay_is_the_papers_table():
  # Joint epochs 5, 6, ... of the paper's run; the paper's code: factor
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


def test_drops_at_epochs_stay():
  # The table of ST-ProtoPNet's code: at epochs 7, 9, 11, 13 of the run, whose
  # first 5 warm up, and never again.
  steps = 7
  rate = drops_at(3.0, [steps * n for n in (2, 4, 6, 8)], 0.2)
  for epoch in range(5, 31):
    factor = 0.2 ** sum(epoch >= drop for drop in (7, 9, 11, 13))
    start = (epoch - 5) * steps
    found = [float(rate(start)), float(rate(start + steps - 1))]
    np.testing.assert_allclose(found, 3 * factor, rtol=1e-6)
  assert float(drops_at(3.0, [], 0.2)(100)) == 3.0


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


def test_clip_is_over_all_trained_groups_together():
  params = {name: jnp.zeros(2) for name in ("a", "b", "frozen")}
  gradients = {
    "a": jnp.array([3.0, 0.0]),
    "b": jnp.array([0.0, 4.0]),
    "frozen": jnp.array([1e9, jnp.nan]),
  }

  def updates(clip_norm):
    rule = grouped(dict.fromkeys("ab", optax.sgd(1.0)), clip_norm)
    return rule.update(gradients, rule.init(params), params)[0]

  clipped = updates(0.1)
  np.testing.assert_allclose(clipped["a"], [-0.06, 0], rtol=1e-6)
  np.testing.assert_allclose(clipped["b"], [0, -0.08], rtol=1e-6)
  np.testing.assert_array_equal(clipped["frozen"], 0.0)
  np.testing.assert_array_equal(updates(5.1)["a"], [-3.0, 0])
  np.testing.assert_array_equal(updates(0.0)["b"], [0, -4.0])


def test_unknown_group_is_named_before_anything_is_clipped():
  with pytest.raises(UserError, match=r"names the groups hed"):
    grouped({"hed": 0.1}, 0.1).init({"head": jnp.ones(1)})


@pytest.mark.parametrize("axis", [0, 1])
def test_parts_in_turn_are_optimisers_of_their_own(axis):
  """Each part as if it alone were there, on the steps that reach it."""
  rng = np.random.default_rng(0)
  start = rng.normal(size=(4, 6)).astype(np.float32)
  gradients = rng.normal(size=(6, 4, 6)).astype(np.float32)
  rule = in_turn(adam(3e-3, 0.5), 2, axis)
  x = {"a": jnp.asarray(start)}
  state = rule.init(x)
  for step, g in enumerate(gradients):
    own = np.arange(start.shape[axis]) // (start.shape[axis] // 2) == step % 2
    g = np.where(own[:, None] if axis == 0 else own[None], g, 0.0)
    before = state
    updates, state = jax.jit(rule.update)({"a": jnp.asarray(g)}, state, x)
    x = optax.apply_updates(x, updates)
    moved = np.asarray(updates["a"]).any(axis=1 - axis)
    np.testing.assert_array_equal(moved, own)
    # Moments and counts, too.
    for new, old in zip(
      jax.tree.leaves(state), jax.tree.leaves(before), strict=True
    ):
      np.testing.assert_array_equal(new[1 - step % 2], old[1 - step % 2])
  for part in range(2):
    alone = _adam_with_l2(
      np.split(start, 2, axis)[part],
      [np.split(g, 2, axis)[part] for g in gradients[part::2]],
      3e-3,
      0.5,
    )
    np.testing.assert_allclose(
      np.split(np.asarray(x["a"]), 2, axis)[part], alone, atol=2e-6
    )


@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_gradients_are_clipped_by_the_norm_of_all_shards(limit):
  """On two devices, each with a half of one array, as Optax does on one."""
  rng = np.random.default_rng(0)
  params = {
    "bank": {"vectors": np.float32(rng.normal(size=(4, 3)))},
    "head": {"weight": np.float32(rng.normal(size=(2, 5)))},
    "frozen": {"w": np.float32(rng.normal(size=(3,)))},
  }
  sharding = {"bank.vectors": 0}
  groups = {"bank": optax.sgd(1.0), "head": optax.sgd(1.0)}
  split = grouped(groups, limit, sharding)

  def update(gradients):
    return split.update(gradients, split.init(gradients), gradients)[0]

  axes = (parallel.axes(params, sharding),)
  mapped = parallel.pmap(update, in_axes=axes, out_axes=axes[0])
  found = parallel.to_host(
    mapped(parallel.distribute(params, sharding)), sharding
  )
  trained = {name: params[name] for name in ("bank", "head")}
  squares = [np.sum(x**2) for x in jax.tree.leaves(trained)]
  scale = min(1.0, limit / np.sqrt(sum(squares)))
  for name, tree in trained.items():
    for leaf, array in tree.items():
      np.testing.assert_allclose(found[name][leaf], -scale * array, rtol=1e-6)
  np.testing.assert_array_equal(found["frozen"]["w"], 0)
