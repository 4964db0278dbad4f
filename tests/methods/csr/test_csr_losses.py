import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.methods.csr import losses

contrast = jax.jit(losses.concept_contrast, static_argnums=(1, 2))
relaxed_maximum = jax.jit(losses.relaxed_maximum, static_argnums=1)


def softmax(x):
  e = np.exp(x - x.max(axis=-1, keepdims=True))
  return e / e.sum(axis=-1, keepdims=True)


def cosines(seed, *shape):
  return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_presence_is_the_binary_cross_entropy():
  logits = cosines(0, 4, 3) * 5
  present = cosines(1, 4, 3) > 0
  p = 1 / (1 + np.exp(-logits.astype(np.float64)))
  expected = -np.where(present, np.log(p), np.log(1 - p)).mean(axis=1)
  assert_allclose(losses.presence(logits, present), expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 3.0, 1000.0])
def test_the_relaxed_maximum_is_the_formula(gamma):
  s = cosines(2, 5, 3, 7)
  expected = (softmax(gamma * s.astype(np.float64)) * s).sum(axis=-1)
  found = relaxed_maximum(s, gamma)
  assert_allclose(found, expected, atol=1e-5)


def test_it_lies_between_mean_and_maximum():
  s = cosines(3, 5, 7)
  assert_allclose(relaxed_maximum(s, 0.0), s.mean(axis=-1), atol=1e-6)
  assert_allclose(relaxed_maximum(s, 1e5), s.max(axis=-1), atol=1e-5)


@pytest.mark.parametrize("margin", [-0.1, 0.0, 0.1])
def test_the_contrast_is_the_papers_fraction(margin):
  """Eq. 9, vector by vector."""
  s, scale = cosines(4, 2, 3, 3).astype(np.float64), 20.0
  found = contrast(jnp.asarray(s), scale, margin)
  for b in range(2):
    for own in range(3):
      positive = np.exp(scale * (s[b, own, own] + margin))
      others = sum(np.exp(scale * s[b, own, k]) for k in range(3) if k != own)
      expected = -np.log(positive / (positive + others))
      assert_allclose(found[b, own], expected, rtol=2e-4, atol=1e-6)


def test_a_margin_below_zero_is_harder():
  s = jnp.asarray(cosines(5, 4, 3, 3))
  easy, plain, hard = (contrast(s, 20.0, m) for m in (0.1, 0.0, -0.1))
  assert jnp.all(easy <= plain)
  assert jnp.all(plain <= hard)
  assert jnp.sum(easy) < jnp.sum(plain) < jnp.sum(hard)


def test_one_prototype_a_concept_is_the_normalised_softmax_loss():
  s = cosines(6, 4, 3, 3)
  alone = relaxed_maximum(s[..., None], 1000.0)
  found = contrast(alone, 20.0, 0.0)
  shares = softmax(20.0 * s.astype(np.float64))
  expected = -np.log(np.diagonal(shares, axis1=1, axis2=2))
  assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
