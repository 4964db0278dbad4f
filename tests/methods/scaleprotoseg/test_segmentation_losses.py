"""Losses of ScaleProtoSeg against loops and closed forms."""

import jax
import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.methods.scaleprotoseg import losses

diversity = jax.jit(losses.diversity)
VOID = 255
S, K, M = 2, 3, 3


def _maps(b=2, n=12, seed=0):
  rng = np.random.default_rng(seed)
  values = rng.uniform(0, 3, (b, n, S, K, M)).astype(np.float32)
  labels = rng.integers(0, K, (b, n)).astype(np.int32)
  labels[rng.random((b, n)) < 0.2] = VOID
  labels[0][labels[0] == 2] = VOID
  labels[0, 0] = 2  # One pixel of a class is too few.
  return values, labels


def _softmax(x):
  e = np.exp(x - x.max())
  return e / e.sum()


def _looped(values, labels, alive):
  terms = []
  for b, c, s in np.ndindex(len(values), K, S):
    mine = labels[b] == c
    if mine.sum() < 2:
      continue
    maps = [_softmax(values[b, mine, s, c, j].astype(float)) for j in range(M)]
    for i in range(M):
      for j in range(i + 1, M):
        if alive[s, c, i] and alive[s, c, j]:
          p, q = maps[i], maps[j]
          d = (p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()
          terms.append(np.exp(-d / 2))
  return np.sum(terms), len(terms)


@pytest.mark.parametrize("dead", [False, True])
def test_diversity_equals_loops_over_pairs(dead):
  values, labels = _maps()
  alive = np.ones((S, K, M), bool)
  alive[1, 0, 0] = not dead
  found = diversity(values, labels, alive)
  total, count = _looped(values, labels, alive)
  assert_allclose(found.total, total, rtol=1e-5)
  assert int(found.count) == count


def test_equal_maps_have_diversity_one_and_disjoint_ones_none():
  values, labels = _maps()
  alive = np.ones((S, K, M), bool)
  equal = np.repeat(values[..., :1], M, axis=-1)
  found = diversity(equal, labels, alive)
  assert_allclose(found.total / found.count, 1, rtol=1e-5)
  # Each prototype of class 0 has a pixel of its own.
  apart, own = np.zeros_like(values), np.full_like(labels, VOID)
  own[:, :M] = 0
  for j in range(M):
    apart[:, j, :, :, j] = 60
  found = diversity(apart, own, alive)
  assert_allclose(found.total, 0, atol=1e-6)


def test_gradients_of_diversity_are_finite_and_none_of_void():
  values, labels = _maps()
  alive = np.ones((S, K, M), bool)
  gradient = jax.jit(
    jax.grad(lambda v: losses.diversity(v, labels, alive).total)
  )
  found = np.asarray(gradient(values))
  assert np.isfinite(found).all()
  assert (found[labels == VOID] == 0).all()
  assert (found[labels != VOID] != 0).any()


def test_cross_entropy_leaves_void_out():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(1, 2, 3, K)).astype(np.float32)
  labels = np.array([[[0, 1, VOID], [2, VOID, 0]]], np.int32)
  found = jax.jit(losses.cross_entropy)(logits, labels)
  each = [
    -np.log(_softmax(logits[0, y, x])[labels[0, y, x]])
    for y, x in np.ndindex(2, 3)
    if labels[0, y, x] != VOID
  ]
  assert_allclose(found.total, np.sum(each), rtol=1e-5)
  assert int(found.count) == 4


def test_entropy_is_one_if_spread_and_nothing_if_single():
  weights = np.zeros((3, 2, 4), np.float32)
  weights[0] = 0.25
  weights[1, :, 0] = 1
  weights[2, :, 0] = 1
  alive = np.ones((3, 4), bool)
  alive[2, 1:] = False  # Without a choice it is left out.
  found = jax.jit(losses.entropy)(weights, alive)
  assert_allclose(found, 0.5, atol=1e-3)


def test_the_size_of_foreign_weights():
  weights = np.full((2, 2, 3), -0.5, np.float32)
  weights[0, 0] = weights[1, 1] = 1
  assert_allclose(jax.jit(losses.foreign)(weights), 3.0)
