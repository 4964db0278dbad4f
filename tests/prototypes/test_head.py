"""The head: initial weights, points, and what must not change a logit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.losses import prototype as losses
from protojax.prototypes import head
from protojax.types import UserError

CLASS_OF = np.array([0, 0, 1, 1, 2, 2], np.int32)
ALIVE = np.ones(6, bool)

logits = jax.jit(head.logits)


@pytest.fixture
def scores():
  return np.random.default_rng(0).uniform(0, 9, (4, 6)).astype(np.float32)


@pytest.fixture
def weight():
  return np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)


def test_start_is_one_for_the_own_class_and_minus_a_half(scores):
  weight = head.initial("dense", CLASS_OF, 3)["weight"]
  expected = np.where(np.arange(3)[:, None] == CLASS_OF[None], 1.0, -0.5)
  np.testing.assert_array_equal(weight, expected)
  np.testing.assert_allclose(
    logits(scores, weight, ALIVE), scores @ expected.T, rtol=1e-5
  )


def test_logits_are_sums_of_points(scores, weight):
  points = scores[:, None] * weight[None]
  np.testing.assert_allclose(
    logits(scores, weight, ALIVE), points.sum(axis=-1), atol=1e-4
  )


def test_permuted_prototypes_with_their_columns_change_no_logit(scores, weight):
  order = np.array([3, 5, 0, 1, 4, 2])
  np.testing.assert_allclose(
    logits(scores[:, order], weight[:, order], ALIVE),
    logits(scores, weight, ALIVE),
    atol=1e-5,
  )


def test_duplicate_with_halved_columns_changes_no_logit(scores, weight):
  twice = np.array([0, 1, 2, 3, 4, 5, 2])
  halved = weight[:, twice].copy()
  halved[:, [2, 6]] /= 2
  np.testing.assert_allclose(
    logits(scores[:, twice], halved, np.ones(7, bool)),
    logits(scores, weight, ALIVE),
    atol=1e-5,
  )


def test_dead_prototypes_change_no_logit_whatever_they_hold(scores, weight):
  alive = np.array([True, True, False, True, False, True])
  expected = logits(scores[:, alive], weight[:, alive], ALIVE[:4])
  scores[:, 2], weight[:, 2] = np.inf, 0.0
  scores[:, 4], weight[:, 4] = 3.0, np.nan

  def total(scores, weight):
    return jnp.sum(logits(scores, weight, alive))

  np.testing.assert_allclose(logits(scores, weight, alive), expected, atol=1e-5)
  for gradient in jax.jit(jax.grad(total, argnums=(0, 1)))(scores, weight):
    np.testing.assert_array_equal(np.asarray(gradient)[:, ~alive], 0.0)
    assert np.isfinite(gradient).all()


# Not sorted, and class 1 has none alive.
MIXED = np.array([3, 0, 2, 0, 1, 3, 3], np.int32)
LIVING = np.array([1, 1, 1, 0, 0, 1, 1], bool)


@pytest.fixture
def block():
  rng = np.random.default_rng(2)
  own = rng.normal(size=7).astype(np.float32)
  return head.ClassBlock(own, np.array(-0.3, np.float32), 4)


@pytest.fixture
def expanded(block):
  own = np.arange(4)[:, None] == MIXED[None]
  return head.Dense(np.where(own, block.own[None], block.off))


def test_both_forms_start_as_the_same_weights():
  forms = [head.load(head.initial(kind, MIXED, 4), 4) for kind in head.KINDS]
  dense, block = (form.weights(MIXED, LIVING) for form in forms)
  np.testing.assert_array_equal(block, dense)
  with pytest.raises(UserError, match="head='sparse': choose from dense, cla"):
    head.initial("sparse", MIXED, 4)


def test_class_block_is_the_dense_head_with_its_weights(block, expanded):
  scores = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)
  scores[:, 3] = np.nan
  answers = np.array([3, 1, 0, 3, 2])
  for form in (block, expanded):
    weights, toward, found = map(
      np.asarray,
      jax.jit(
        lambda form=form: (
          form.weights(MIXED, LIVING),
          form.toward(answers, MIXED, LIVING),
          form.logits(scores, MIXED, LIVING),
        )
      )(),
    )
    np.testing.assert_array_equal(
      weights, np.where(LIVING[None], expanded.weight, 0)
    )
    np.testing.assert_array_equal(toward, weights[answers])
    np.testing.assert_allclose(
      found, np.where(LIVING[None], scores, 0) @ weights.T, atol=1e-5
    )


def test_class_block_has_the_gradients_of_the_dense_head(block, expanded):
  rng = np.random.default_rng(4)
  scores = rng.normal(size=(5, 7)).astype(np.float32)
  pull = rng.normal(size=(5, 4)).astype(np.float32)

  def total(form, scores):
    l1 = losses.l1_off_class(*form.off_class(MIXED, LIVING))
    return jnp.sum(form.logits(scores, MIXED, LIVING) * pull) + l1

  def dense(weight, scores):
    return total(head.Dense(weight), scores)

  def sparse(own, off, scores):
    return total(head.ClassBlock(own, off, 4), scores)

  value, (weight, others) = jax.jit(jax.value_and_grad(dense, (0, 1)))(
    expanded.weight, scores
  )
  found, (own, off, same) = jax.jit(jax.value_and_grad(sparse, (0, 1, 2)))(
    block.own, block.off, scores
  )
  weight = np.asarray(weight)
  np.testing.assert_allclose(found, value, rtol=1e-5)
  np.testing.assert_allclose(same, others, atol=1e-5)
  mine = np.arange(4)[:, None] == MIXED[None]
  np.testing.assert_allclose(own, weight[MIXED, np.arange(7)], atol=1e-5)
  np.testing.assert_allclose(off, weight[~mine].sum(), rtol=1e-4)


def test_l1_is_of_living_off_class_weights(expanded):
  expected = sum(
    abs(expanded.weight[k, j])
    for k, j in np.ndindex(4, 7)
    if MIXED[j] != k and LIVING[j]
  )
  found = jax.jit(
    lambda: losses.l1_off_class(*expanded.off_class(MIXED, LIVING))
  )()
  np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", head.KINDS)
def test_what_is_dead_can_go(kind):
  scores = np.random.default_rng(5).normal(size=(5, 7)).astype(np.float32)
  params = head.initial(kind, MIXED, 4)
  whole = jax.jit(head.load(params, 4).logits)(scores, MIXED, LIVING)
  left = head.load(head.some(params, LIVING), 4)
  some = jax.jit(left.logits)(scores[:, LIVING], MIXED[LIVING], LIVING[LIVING])
  np.testing.assert_allclose(some, whole, atol=1e-6)
