"""Experts: every strategy is the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.methods.promoe import buckets as buckets_lib
from protojax.methods.promoe import experts

COUNT, ROWS, D, F = 6, 48, 8, 12


_sorted_by = jax.jit(experts.sorted_by, static_argnums=1)


@pytest.fixture(scope="module")
def weights():
  rng = np.random.default_rng(0)
  shapes = (COUNT, D, F), (COUNT, F), (COUNT, F, D), (COUNT, D)
  made = [np.float32(rng.normal(size=s)) * 0.3 for s in shapes]
  return experts.Experts(*made)


@pytest.fixture(scope="module")
def rows():
  return np.float32(np.random.default_rng(1).normal(size=(ROWS, D)))


def load(name):
  """The expert of each row; 6: none."""
  rng = np.random.default_rng(2)
  if name == "equal":
    return rng.permutation(np.arange(ROWS) % COUNT)
  if name == "uneven":
    return rng.choice(COUNT, ROWS, p=(0.25, 0.2, 0.15, 0.15, 0.15, 0.1))
  if name == "one":
    return np.full(ROWS, 3)
  if name == "a third":
    return np.where(np.arange(ROWS) % 3 == 0, 4, rng.integers(0, 5, ROWS))
  return np.where(np.arange(ROWS) % 2 == 0, COUNT, rng.integers(0, 5, ROWS))


def both(strategy):
  """Output, and gradients of weights and rows."""

  def loss(weights, rows, expert):
    out = strategy(weights, rows, expert)
    return jnp.sum(jnp.sin(out + jnp.arange(D)[None])), out

  slopes = jax.grad(loss, argnums=(0, 1), has_aux=True)
  return jax.jit(lambda *x: (slopes(*x), strategy(*x)))


@pytest.fixture(scope="module")
def oracle():
  return both(experts.dense_all)


@pytest.mark.parametrize("name", ["buckets", "ragged"])
def test_strategies_give_what_dense_all_gives(name, oracle, weights, rows):
  found = both({"buckets": buckets_lib.buckets, "ragged": experts.ragged}[name])
  for case in ("equal", "uneven", "one", "a third", "none for half"):
    expert = np.int32(load(case))
    for x, y in zip(
      jax.tree.leaves(found(weights, rows, expert)),
      jax.tree.leaves(oracle(weights, rows, expert)),
      strict=True,
    ):
      np.testing.assert_allclose(x, y, atol=1e-5, rtol=1e-5, err_msg=case)


def test_a_row_without_an_expert_gives_nothing(oracle, weights, rows):
  expert = np.int32(load("none for half"))
  _, found = oracle(weights, rows, expert)
  assert not np.asarray(found)[expert == COUNT].any()
  assert np.asarray(found)[expert < COUNT].any(axis=1).all()


def test_the_first_plan_that_holds_all_rows_is_taken():
  every = buckets_lib.plans(ROWS, COUNT)
  assert [plan.blocks for plan in every] == [COUNT, COUNT, COUNT * 2]
  assert [plan.room for plan in every] == [11, 14, 8]

  def taken(expert):
    found = _sorted_by(np.int32(expert), COUNT)
    return int(buckets_lib._chosen(every, found))

  assert taken(load("equal")) == 0
  assert taken(np.repeat(np.arange(6), (12, 8, 7, 7, 7, 7))) == 1
  assert taken(load("one")) == taken(load("a third")) == 2


def test_the_last_plan_holds_any_load():
  rng = np.random.default_rng(3)
  for count in (1, 2, 5, 13):
    for rows in (1, 7, 40):
      last = buckets_lib.plans(rows, count)[-1]
      for _ in range(50):
        p = rng.dirichlet(np.full(count, 0.3))
        counts = rng.multinomial(rows, p)
        assert (-(-counts // last.room)).sum() <= last.blocks


def test_rows_are_sorted_and_keep_their_order():
  found = _sorted_by(np.int32([2, 0, 3, 2, 0]), 3)
  assert found.order.tolist() == [1, 4, 0, 3, 2]
  assert found.place.tolist() == [2, 0, 4, 3, 1]
  assert found.counts.tolist() == [2, 0, 2]
  assert found.starts.tolist() == [0, 2, 2]
  assert found.rank.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.slow
def test_experts_of_two_devices_are_as_those_of_one(weights, rows):
  """Each device holds three experts and half of the rows."""
  expert = np.int32(load("none for half"))

  def loss(weights, rows, expert, factor):
    out, dropped = experts.capacity(weights, rows, expert, COUNT, factor)
    return jnp.sum(jnp.sin(out)), (out, dropped)

  def step(weights, rows, expert):
    slopes = jax.grad(loss, argnums=(0, 1), has_aux=True)
    (moved, back), (out, dropped) = slopes(weights, rows, expert, 6.0)
    _, (_, short) = loss(weights, rows, expert, 0.5)
    return moved, back, out, dropped[None], short[None]

  mapped = parallel.pmap(step, (0, 0, 0), (0, 0, 0, 0, 0))
  halves = jax.tree.map(
    lambda x: x.reshape(2, -1, *x.shape[1:]), (weights, rows, expert)
  )
  moved, back, out, dropped, short = mapped(*halves)

  def alone(weights, rows):
    out = experts.dense_all(weights, rows, expert)
    return jnp.sum(jnp.sin(out)), out

  (their, rest), one = jax.grad(alone, argnums=(0, 1), has_aux=True)(
    weights, rows
  )
  for x, y in zip(
    jax.tree.leaves((moved, back, out)),
    jax.tree.leaves((their, rest, one)),
    strict=True,
  ):
    x = np.asarray(x).reshape(y.shape)
    np.testing.assert_allclose(x, y, atol=1e-5, rtol=1e-5)
  assert not np.asarray(dropped).any()
  # Of 24 rows of a device, 12 have an expert, and there is room for 2 each.
  counts = [
    np.bincount(e[e < COUNT], minlength=COUNT) for e in expert.reshape(2, -1)
  ]
  expected = [np.maximum(c - 2, 0).sum() for c in counts]
  assert np.asarray(short).ravel().tolist() == expected
