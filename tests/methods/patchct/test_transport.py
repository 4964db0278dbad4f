"""Conditional transport: its bounds, symmetries, limits and gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from protojax.methods.patchct import transport

PATCHES, LABELS = 6, 4


@pytest.fixture(scope="module")
def similarity():
  """Cosines of three images: random, many positive labels, one."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(3, PATCHES, 5))
  e = rng.normal(size=(LABELS, 5))
  x /= np.linalg.norm(x, axis=-1, keepdims=True)
  e /= np.linalg.norm(e, axis=-1, keepdims=True)
  return np.float32(x @ e.T)


LABEL_ROWS = np.array([[1, 1, 0, -1], [1, 1, 1, 1], [0, 0, 1, 0]])
BETA = np.asarray(transport.masses(LABEL_ROWS))
THETA = np.full((3, PATCHES), 1 / PATCHES, np.float32)

costs = jax.jit(transport.costs, static_argnames="cost")
plans = jax.jit(transport.plans)


def naive(s, beta, theta, t):
  """Both costs of one image, by loops in float64."""
  forward = backward = 0.0
  js, ks = range(len(theta)), range(len(beta))
  for j in js:
    w = [beta[k] * np.exp(float(s[j, k]) / t) for k in ks]
    forward += theta[j] * sum(w[k] / sum(w) * (1 - s[j, k]) for k in ks)
  for k in ks:
    w = [theta[j] * np.exp(float(s[j, k]) / t) for j in js]
    backward += beta[k] * sum(w[j] / sum(w) * (1 - s[j, k]) for j in js)
  return forward, backward


def test_costs_are_those_of_plain_loops(similarity):
  found = costs(similarity, BETA, THETA, 0.3)
  for i in range(3):
    expected = naive(similarity[i], BETA[i], THETA[i], 0.3)
    np.testing.assert_allclose([x[i] for x in found], expected, atol=1e-6)


def test_masses_are_equal_over_the_labels_that_are_there():
  np.testing.assert_allclose(BETA[0], [0.5, 0.5, 0, 0])
  assert not np.asarray(transport.masses(np.array([[0, -1]]))).any()
  with_null = transport.masses(LABEL_ROWS, 0.3)
  np.testing.assert_allclose(with_null[0], [0.35, 0.35, 0, 0, 0.3], atol=1e-7)
  assert not np.asarray(transport.masses(np.array([[0, -1]]), 0.3)).any()


def test_plans_send_all_mass_and_none_to_absent_labels(similarity):
  found = plans(similarity, BETA, THETA, 0.1)
  np.testing.assert_allclose(found.forward.sum(axis=2), 1, atol=1e-6)
  np.testing.assert_allclose(found.backward.sum(axis=1), 1, atol=1e-6)
  absent = np.broadcast_to(BETA[:, None] == 0, similarity.shape)
  assert not np.asarray(found.forward)[absent].any()


def test_costs_lie_between_their_limits_and_fall_with_the_temperature(
  similarity,
):
  cost = 1 - similarity
  product = np.einsum("bj,bk,bjk->b", THETA, BETA, cost)
  there = np.where(BETA[:, None] > 0, cost, np.inf)
  lowest = there.min(axis=2).mean(axis=1), (cost.min(axis=1) * BETA).sum(axis=1)
  before = None
  for t in (1e-3, 0.03, 0.3, 3.0, 1e3):
    found = np.array(costs(similarity, BETA, THETA, t))
    assert np.all(found >= np.array(lowest) - 1e-6)
    assert np.all(found <= product + 1e-6)
    if before is not None:
      assert np.all(found >= before - 1e-6)
    before = found
  np.testing.assert_allclose(before, [product, product], atol=1e-3)
  found = costs(similarity, BETA, THETA, 1e-4)
  np.testing.assert_allclose(found, lowest, atol=1e-4)


def test_the_limits_lie_below_optimal_transport(similarity):
  """By a linear programme; the product coupling lies above it."""
  for i in range(3):
    cost = 1 - np.float64(similarity[i])
    rows = np.kron(np.eye(PATCHES), np.ones(LABELS))
    columns = np.kron(np.ones(PATCHES), np.eye(LABELS))
    exact = optimize.linprog(
      cost.ravel(),
      A_eq=np.concatenate([rows, columns]),
      b_eq=np.concatenate([THETA[i], BETA[i] / BETA[i].sum()]),
    ).fun
    cold = [float(x[i]) for x in costs(similarity, BETA, THETA, 1e-4)]
    product = THETA[i] @ cost @ BETA[i]
    assert max(cold) <= exact + 1e-5
    assert exact <= product + 1e-6


def test_a_single_label_or_patch(similarity):
  one = similarity[:, :, :1]
  beta, ones = np.ones((3, 1), np.float32), np.ones((3, 1), np.float32)
  found = costs(one, beta, THETA, 0.2)
  np.testing.assert_allclose(
    found.forward, (1 - one[..., 0]).mean(axis=1), atol=1e-6
  )
  weights = np.exp(one[..., 0] / 0.2)
  weights /= weights.sum(axis=1, keepdims=True)
  soft = (weights * (1 - one[..., 0])).sum(axis=1)
  np.testing.assert_allclose(found.backward, soft, atol=1e-6)
  single = similarity[:, :1]
  uniform = np.full((3, LABELS), 1 / LABELS, np.float32)
  found = costs(single, uniform, ones, 0.2)
  swapped = costs(single.transpose(0, 2, 1), ones, uniform, 0.2)
  np.testing.assert_allclose(found.forward, swapped.backward, atol=1e-6)
  np.testing.assert_allclose(found.backward, swapped.forward, atol=1e-6)


def test_order_and_copies_of_patches_change_nothing(similarity):
  before = costs(similarity, BETA, THETA, 0.1)
  order, labels = [3, 1, 5, 0, 2, 4], [2, 0, 3, 1]
  moved = similarity[:, order][:, :, labels]
  for found in (
    costs(moved, BETA[:, labels], THETA, 0.1),
    costs(np.repeat(similarity, 2, 1), BETA, np.repeat(THETA, 2, 1) / 2, 0.1),
  ):
    np.testing.assert_allclose(found, before, atol=1e-6)
  found = plans(moved, BETA[:, labels], THETA, 0.1)
  first = plans(similarity, BETA, THETA, 0.1)
  for a, b in zip(found, first, strict=True):
    np.testing.assert_allclose(a, b[:, order][:, :, labels], atol=1e-6)


def test_it_costs_nothing_where_all_embeddings_coincide(similarity):
  found = costs(np.ones_like(similarity), BETA, THETA, 0.1)
  np.testing.assert_allclose(found, np.zeros((2, 3)), atol=1e-6)
  found = np.array(costs(-np.ones_like(similarity), BETA, THETA, 0.1))
  np.testing.assert_allclose(found, 2, atol=1e-6)


def test_no_number_is_lost_at_any_temperature(similarity):
  rows = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [-1, -1, 0, -1]])
  beta = transport.masses(rows)

  def total(s, t):
    return sum(x.sum() for x in transport.costs(s, beta, THETA, t))

  step = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
  for t in (1e-3, 1.0, 1e3):
    value, (by_s, by_t) = step(similarity, jnp.float32(t))
    assert np.isfinite(value)
    assert np.isfinite(by_s).all()
    assert np.isfinite(by_t)
    # Images without labels cost nothing and pull nothing.
    assert not np.asarray(by_s)[[0, 2]].any()


def test_gradients_are_those_of_the_closed_form(similarity):
  """A pair whose cost is above its row's mean by more than T is pushed apart.

  Of forward, by c: theta_j pi (1 - (c - mean) / T); of 1/T: minus the variance.
  """
  t = 0.25
  s = jnp.asarray(similarity)

  def forward(s, t):
    return transport.costs(s, BETA, THETA, t).forward.sum()

  by_s, by_t = jax.jit(jax.grad(forward, argnums=(0, 1)))(s, jnp.float32(t))
  pi, c = np.asarray(plans(s, BETA, THETA, t).forward), 1 - similarity
  mean = (pi * c).sum(axis=2, keepdims=True)
  expected = THETA[..., None] * pi * (1 - (c - mean) / t)
  np.testing.assert_allclose(-by_s, expected, atol=1e-5)
  variance = (THETA[..., None] * pi * (c - mean) ** 2).sum()
  np.testing.assert_allclose(by_t, variance / t**2, rtol=1e-4)
  assert (expected[BETA[:, None].repeat(PATCHES, 1) > 0] < 0).any()


def test_gradients_are_those_of_finite_differences(similarity):
  step = 1e-2

  def total(s):
    return sum(x.sum() for x in costs(s, BETA, THETA, 0.5))

  gradient = jax.jit(jax.grad(total))(similarity)
  for place in itertools.product(range(3), (0, 4), (0, 2)):
    moved = np.zeros_like(similarity)
    moved[place] = step
    slope = (total(similarity + moved) - total(similarity - moved)) / 2 / step
    np.testing.assert_allclose(gradient[place], slope, atol=2e-4)


def test_the_other_cost_and_masses_by_attention(similarity):
  found = costs(similarity, BETA, THETA, 1e6, cost="exponential")
  expected = np.einsum("bj,bk,bjk->b", THETA, BETA, np.exp(-similarity))
  np.testing.assert_allclose(found.forward, expected, atol=1e-5)
  patches = np.eye(3, dtype=np.float32)[None]
  theta = transport.attention(patches[:, 1], patches, 0.1)
  np.testing.assert_allclose(theta.sum(axis=1), 1, atol=1e-6)
  assert int(theta.argmax()) == 1


def test_without_the_masses_of_labels_the_plan_is_the_same(similarity):
  """The softmax of WeTe, with equal masses, is that of ALIGN, without any."""
  with_masses = plans(similarity, BETA, THETA, 0.2).forward
  for i in range(3):
    there = BETA[i] > 0
    alone = np.exp(-(1 - similarity[i][:, there]) / 0.2)
    alone /= alone.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(with_masses[i][:, there], alone, atol=1e-6)
