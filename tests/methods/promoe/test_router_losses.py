"""Losses of the routers in closed form, and where experts are empty."""

import jax
import numpy as np
import pytest

from protojax.methods.promoe import losses

E, D, TAU = 5, 8, 0.07
ALL = np.ones(E, bool)
_contrastive = jax.jit(losses.routing_contrastive, static_argnums=3)


_margin = jax.jit(losses.margin)


@jax.jit
def _slopes(prototypes, sums, counts):
  def loss(prototypes, sums):
    means, present = losses.means(sums, counts)
    return losses.routing_contrastive(prototypes, means, present, TAU)

  return jax.grad(loss, argnums=(0, 1))(prototypes, sums)


@pytest.fixture(scope="module")
def drawn():
  rng = np.random.default_rng(0)
  return np.float32(rng.normal(size=(2, E, D)))


def test_orthonormal_prototypes_at_their_means_have_a_closed_form():
  basis = np.eye(E, D, dtype=np.float32)
  expected = np.log(1 + (E - 1) * np.exp(-1 / TAU))
  found = float(_contrastive(basis, basis, ALL, TAU))
  assert found == pytest.approx(expected, abs=1e-6)
  found = float(_contrastive(basis, basis, ALL, 0.5))
  assert found == pytest.approx(np.log(1 + (E - 1) * np.exp(-2)), rel=1e-5)


def test_it_is_the_mean_over_experts_with_tokens(drawn):
  p, m = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in drawn)
  for present in (ALL, np.array([1, 0, 1, 1, 0], bool)):
    z = np.exp((p[present] @ m[present].T) / TAU)
    expected = -np.log(np.diag(z) / z.sum(1)).mean()
    found = _contrastive(*drawn, present, TAU)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_lengths_do_not_matter(drawn):
  p, m = drawn
  scale = np.float32([0.1, 2, 3, 5, 100])[:, None]
  expected = _contrastive(p, m, ALL, TAU)
  np.testing.assert_allclose(
    _contrastive(p * scale, m * scale[::-1], ALL, TAU), expected, rtol=1e-4
  )


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_experts_have_no_loss(drawn, count):
  assert float(_contrastive(*drawn, np.arange(E) < count, TAU)) == 0


@pytest.mark.parametrize("empty", [[1], [0, 2, 3], [0, 1, 2, 3, 4]])
def test_an_empty_expert_has_a_finite_slope(drawn, empty):
  """The gradient of a norm at 0 is not a number."""
  counts = np.where(np.isin(np.arange(E), empty), 0, 3).astype(np.float32)
  sums = drawn[1] * counts[:, None]

  of_prototypes, of_sums = _slopes(drawn[0], sums, counts)
  assert np.isfinite(np.asarray(of_prototypes)).all()
  assert np.isfinite(np.asarray(of_sums)).all()
  assert not np.asarray(of_sums)[empty].any()


def test_the_margin_is_to_the_nearest_other_mean(drawn):
  p, m = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in drawn)
  z = p @ m.T
  others = np.where(np.eye(E, dtype=bool), -np.inf, z).max(1)
  found = _margin(*drawn, ALL)
  np.testing.assert_allclose(found, (np.diag(z) - others).mean(), rtol=1e-5)


def test_an_equal_load_has_a_balance_of_one_and_the_largest_entropy():
  loads = np.float32([[7] * E, [35, 0, 0, 0, 0]])
  found = jax.jit(jax.vmap(losses.balance))(loads, loads)
  np.testing.assert_allclose(found, [1, E], rtol=1e-6)
  found = jax.jit(jax.vmap(losses.load_entropy))(loads)
  np.testing.assert_allclose(found, [1, 0], rtol=1e-6)
