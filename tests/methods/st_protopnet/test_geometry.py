"""Terms on prototypes of different classes, against loops in NumPy."""

import jax
import numpy as np
import pytest
from scipy import stats

from protojax.methods.st_protopnet import geometry


def prototypes(classes=4, each=3, channels=8, seed=0):
  drawn = np.random.default_rng(seed).normal(size=(classes, each, channels))
  unit = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
  return unit.astype(np.float32)


def looped(p, reduce):
  """Mean over ordered pairs of classes of the reduced products."""
  found = [
    reduce([float(p[c, m] @ p[k, n]) for m in range(3) for n in range(3)])
    for c in range(len(p))
    for k in range(len(p))
    if c != k
  ]
  return np.mean(found)


@pytest.mark.parametrize("block", [1, 2**22])
def test_terms_are_loops_over_pairs_of_classes(monkeypatch, block):
  monkeypatch.setattr(geometry, "_BLOCK_BYTES", block)
  p = prototypes()
  close = jax.jit(lambda x: geometry.closeness(x))(p)
  apart = jax.jit(lambda x: geometry.discrimination(x))(p)
  np.testing.assert_allclose(close, -looped(p, min), rtol=1e-5)
  np.testing.assert_allclose(apart, looped(p, max), rtol=1e-5)


def test_blocks_have_the_gradient_of_the_whole(monkeypatch):
  p = prototypes(5)

  def whole(p):
    products = np.arange(5)[:, None] != np.arange(5)[None]
    every = jax.numpy.einsum("kme,lne->klmn", p, p)
    return (every.max((2, 3)) * products).sum() / 20

  monkeypatch.setattr(geometry, "_BLOCK_BYTES", 2 * 4 * 5 * 9)
  np.testing.assert_allclose(
    # Of its own: what is compiled for another size of blocks is not taken.
    jax.jit(jax.grad(lambda p: geometry.discrimination(p)))(p),
    jax.jit(jax.grad(whole))(p),
    atol=1e-6,
  )


def test_orthogonality_is_the_absolute_sum_and_0_of_orthonormal_rows():
  p = prototypes()
  expected = sum(np.abs(c @ c.T - np.eye(3)).sum() for c in p)
  orthogonality = jax.jit(geometry.orthogonality)
  np.testing.assert_allclose(orthogonality(p), expected, rtol=1e-5)
  turned = stats.ortho_group(8, seed=0).rvs(4)[:, :3].astype(np.float32)
  np.testing.assert_allclose(orthogonality(turned), 0, atol=1e-5)


def test_one_class_has_no_pairs():
  for term in (geometry.closeness, geometry.discrimination):
    assert jax.jit(lambda p, term=term: term(p))(prototypes(1)) == 0
