"""Losses of INP-Former against NumPy, their gradients against a hook's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.inp_former import losses

SHAPE = (2, 4, 5, 3)


@pytest.fixture
def encoded():
  return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def decoded():
  return np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)


def cosine(a, b):
  return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def factors(encoded, decoded, gamma):
  distance = np.zeros(SHAPE[:3])
  for place in np.ndindex(*SHAPE[:3]):
    distance[place] = 1 - cosine(encoded[place], decoded[place])
  return (distance / distance.mean(axis=(1, 2), keepdims=True)) ** gamma


def hooked(encoded, decoded, gamma):
  """Loss of each image, and the gradient of their sum after the hook."""
  encoded, decoded = np.float64(encoded), np.float64(decoded)
  loss, gradient = np.zeros(SHAPE[1]), np.zeros(SHAPE)
  for g, b in np.ndindex(*SHAPE[:2]):
    e, d = encoded[g, b].ravel(), decoded[g, b].ravel()
    loss[b] += (1 - cosine(e, d)) / SHAPE[0]
    # The derivative of 1 - cos, which no factor has touched.
    along = e / np.linalg.norm(e) - cosine(e, d) * d / np.linalg.norm(d)
    plain = -along / np.linalg.norm(d) / SHAPE[0]
    gradient[g, b] = plain.reshape(SHAPE[2:])
  return loss, gradient * factors(encoded, decoded, gamma)[..., None]


@functools.partial(jax.jit, static_argnames="gamma")
def ours(encoded, decoded, gamma):
  def total(encoded, decoded):
    loss = losses.soft_mining(encoded, decoded, gamma)
    return jnp.sum(loss), loss

  return jax.grad(total, argnums=(0, 1), has_aux=True)(encoded, decoded)


@pytest.mark.parametrize("gamma", [3.0, 0.0])
def test_soft_mining_is_the_loss_with_a_hook(gamma, encoded, decoded):
  (of_encoded, of_decoded), loss = ours(encoded, decoded, gamma)
  expected, gradient = hooked(encoded, decoded, gamma)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  np.testing.assert_allclose(of_decoded, gradient, rtol=1e-5, atol=1e-7)
  np.testing.assert_array_equal(of_encoded, 0.0)


def test_a_plain_gradient_leaves_the_length_alone_a_mined_one_does_not(
  encoded, decoded
):
  def along(gamma):
    (_, gradient), _ = ours(encoded, decoded, gamma)
    return np.abs(np.sum(gradient * decoded, axis=(2, 3))).max()

  assert along(0.0) < 1e-6
  assert along(3.0) > 1e-3


@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_factor_favours_what_is_rebuilt_badly(gamma, encoded, decoded):
  factor = losses.mining_factor(encoded, decoded, gamma)
  expected = factors(encoded, decoded, gamma)
  np.testing.assert_allclose(factor, expected, rtol=1e-5, atol=1e-6)
  # Jensen: the mean of a power is at least the power of the mean.
  assert np.mean(factor, axis=(1, 2)).min() > 1 - 1e-6


def test_what_is_rebuilt_has_loss_and_gradient_zero(encoded):
  (_, gradient), loss = ours(encoded, 5.0 * encoded, 3.0)
  np.testing.assert_allclose(loss, 0.0, atol=1e-6)
  np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_tokens_of_zeros_have_finite_gradients(encoded):
  (_, gradient), loss = ours(encoded, np.zeros_like(encoded), 3.0)
  np.testing.assert_array_equal(loss, 1.0)
  assert np.isfinite(gradient).all()


def test_the_mean_is_that_of_the_whole_batch(encoded, decoded):
  """Two devices give what one does, if the mean is told how."""
  everywhere = functools.partial(jax.lax.pmean, axis_name="halves")

  def half(encoded, decoded):
    return losses.mining_factor(encoded, decoded, 3.0, everywhere)

  def halves(x):
    return x.reshape(2, 2, 2, *SHAPE[2:])

  mapped = jax.vmap(half, in_axes=1, out_axes=1, axis_name="halves")
  result = mapped(halves(encoded), halves(decoded)).reshape(SHAPE[:3])
  whole = losses.mining_factor(encoded, decoded, 3.0)
  np.testing.assert_allclose(result, whole, rtol=1e-5)


def test_coherence_is_the_mean_over_tokens():
  distance = np.float32([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
  np.testing.assert_allclose(losses.coherence(distance), [1.0, 0.0])
