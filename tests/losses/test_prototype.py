"""Loss terms against the paper's code (inverted distances) and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from protojax.losses import prototype as losses

CLASS_OF = np.array([0, 0, 1, 1, 2, 2], np.int32)
ALIVE = np.ones(6, bool)
LABELS = np.array([0, 1, 2, 0, 1], np.int32)
FARTHEST = 8.0


@pytest.fixture
def distances():
  generator = np.random.default_rng(0)
  return generator.uniform(0, FARTHEST, (5, 6)).astype(np.float32)


def inverted(distances, mask):
  """The masked minimum as ProtoPNet's code writes it."""
  mask = jnp.asarray(mask, jnp.float32)
  return FARTHEST - jnp.max((FARTHEST - distances) * mask, axis=1)


@pytest.mark.parametrize("term", ["cluster", "separation"])
def test_minimum_equals_inverted_distances(term, distances):
  own = LABELS[:, None] == CLASS_OF[None]
  mask = own if term == "cluster" else ~own

  def ours(x):
    values, _ = getattr(losses, term)(x, LABELS, CLASS_OF, ALIVE)
    return values

  values = jax.jit(ours)(distances)
  np.testing.assert_allclose(values, inverted(distances, mask), atol=2e-6)
  np.testing.assert_array_equal(
    values, np.where(mask, distances, np.inf).min(axis=1)
  )
  np.testing.assert_allclose(
    jax.jit(jax.grad(lambda x: ours(x).sum()))(distances),
    jax.jit(jax.grad(lambda x: inverted(x, mask).sum()))(distances),
  )


def test_tie_sends_the_gradient_to_the_first():
  tied = np.full((1, 6), 2, np.float32)
  labels = np.array([1], np.int32)
  gradient = jax.jit(
    jax.grad(lambda x: losses.cluster(x, labels, CLASS_OF, ALIVE)[0].sum())
  )(tied)
  np.testing.assert_array_equal(gradient, [[0, 0, 1, 0, 0, 0]])


def test_dead_prototypes_do_not_count(distances):
  alive = np.array([True, False, False, False, True, True])
  given = distances, LABELS, CLASS_OF, alive
  values, valid = map(np.asarray, jax.jit(losses.cluster)(*given))
  np.testing.assert_array_equal(valid, LABELS != 1)
  np.testing.assert_array_equal(values[0], distances[0, 0])
  np.testing.assert_array_equal(values[LABELS == 1], 0.0)
  values, valid = map(np.asarray, jax.jit(losses.separation)(*given))
  assert valid.all()
  np.testing.assert_array_equal(values[1], distances[1, [0, 4, 5]].min())


def test_class_without_prototypes_sends_no_gradient(distances):
  nobody = np.zeros(6, bool)

  def total(x):
    own, _ = losses.cluster(x, LABELS, CLASS_OF, nobody)
    other, _ = losses.separation(x, LABELS, CLASS_OF, nobody)
    return jnp.sum(own + other)

  value, gradient = jax.jit(jax.value_and_grad(total))(distances)
  assert value == 0
  np.testing.assert_array_equal(gradient, 0.0)


def test_cross_entropy_is_minus_log_softmax():
  logits = np.random.default_rng(1).normal(0, 5, (4, 3)).astype(np.float32)
  labels = np.array([0, 2, 1, 1], np.int32)
  expected = -special.log_softmax(logits, axis=1)[np.arange(4), labels]
  values = jax.jit(losses.cross_entropy)(logits, labels)
  np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_unknown_label_has_a_finite_value_to_mask():
  logits = np.zeros((1, 3), np.float32)
  value = jax.jit(losses.cross_entropy)(logits, np.array([-1]))
  assert np.isfinite(value).all()


def test_l1_counts_each_weight_as_often_as_it_stands():
  rng = np.random.default_rng(2)
  weights = rng.normal(size=(3, 6)).astype(np.float32)
  entries = rng.integers(0, 3, (3, 6))
  weights[0, entries[0] == 0] = np.nan
  expected = sum(
    entries[k, j] * abs(weights[k, j])
    for k in range(3)
    for j in range(6)
    if entries[k, j]
  )
  value = jax.jit(losses.l1_off_class)(weights, entries)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
