"""The head: initial weights, points, and what must not change a logit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.prototypes import head

CLASS_OF = np.array([0, 0, 1, 1, 2, 2], np.int32)
ALIVE = np.ones(6, bool)


@pytest.fixture
def scores():
  return np.random.default_rng(0).uniform(0, 9, (4, 6)).astype(np.float32)


@pytest.fixture
def weight():
  return np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)


def test_start_is_one_for_the_own_class_and_minus_a_half(scores):
  weight = head.initial(CLASS_OF, 3)
  expected = np.where(np.arange(3)[:, None] == CLASS_OF[None], 1.0, -0.5)
  np.testing.assert_array_equal(weight, expected)
  logits = head.logits(scores, weight, ALIVE)
  np.testing.assert_allclose(logits, scores @ expected.T, rtol=1e-5)


def test_logits_are_sums_of_points(scores, weight):
  points = head.points(scores, weight)
  assert points.shape == (4, 3, 6)
  np.testing.assert_allclose(
    head.logits(scores, weight, ALIVE), points.sum(axis=-1), atol=1e-4
  )


def test_permuted_prototypes_with_their_columns_change_no_logit(scores, weight):
  order = np.array([3, 5, 0, 1, 4, 2])
  np.testing.assert_allclose(
    head.logits(scores[:, order], weight[:, order], ALIVE),
    head.logits(scores, weight, ALIVE),
    atol=1e-5,
  )


def test_duplicate_with_halved_columns_changes_no_logit(scores, weight):
  twice = np.array([0, 1, 2, 3, 4, 5, 2])
  halved = weight[:, twice].copy()
  halved[:, [2, 6]] /= 2
  np.testing.assert_allclose(
    head.logits(scores[:, twice], halved, np.ones(7, bool)),
    head.logits(scores, weight, ALIVE),
    atol=1e-5,
  )


def test_dead_prototypes_change_no_logit_whatever_they_hold(scores, weight):
  alive = np.array([True, True, False, True, False, True])
  expected = head.logits(scores[:, alive], weight[:, alive], ALIVE[:4])
  scores[:, 2], weight[:, 2] = np.inf, 0.0
  scores[:, 4], weight[:, 4] = 3.0, np.nan

  def total(scores, weight):
    return jnp.sum(head.logits(scores, weight, alive))

  np.testing.assert_allclose(
    head.logits(scores, weight, alive), expected, atol=1e-5
  )
  for gradient in jax.grad(total, argnums=(0, 1))(scores, weight):
    np.testing.assert_array_equal(gradient[:, ~alive], 0.0)
    assert np.isfinite(gradient).all()
