"""Sizes and sparsity of explanations against loops."""

import jax
import numpy as np
from numpy.testing import assert_allclose

from protojax.metrics import sizes

NOTHING = sizes.NOTHING


def _draw(b=6, k=3, p=8):
  generator = np.random.default_rng(0)
  weights = generator.normal(size=(k, p)) * (generator.random((k, p)) < 0.4)
  weights[:, 2] = 0
  scores = generator.normal(size=(b, p)) * (generator.random((b, p)) < 0.6)
  classes = generator.integers(0, k, b)
  return scores.astype(np.float32), weights.astype(np.float32), classes


def test_sizes_equal_the_loops():
  scores, weights, classes = _draw()
  b, (k, p) = len(scores), weights.shape
  zero = sum(abs(w) <= NOTHING for w in weights.ravel())
  assert_allclose(sizes.sparsity(weights), zero / (k * p), rtol=1e-6)
  used = sum(
    any(abs(weights[c, j]) > NOTHING for c in range(k)) for j in range(p)
  )
  assert sizes.global_size(weights) == used
  local = jax.jit(sizes.local_size)(scores, weights)
  predicted = jax.jit(sizes.prediction_size)(scores, weights, classes)
  for i in range(b):
    points = scores[i] * weights
    assert local[i] == sum((abs(points) > NOTHING).any(axis=0))
    assert predicted[i] == sum(abs(points[classes[i]]) > NOTHING)


def _fewest(points, level):
  positive = sorted((x for x in points if x > 0), reverse=True)
  if not positive:
    return float("nan")
  total = 0.0
  for count, x in enumerate(positive, 1):
    total += x
    if total >= level * sum(positive):
      return count
  raise AssertionError


def test_the_fewest_prototypes_equal_the_loop():
  scores, weights, classes = _draw()
  weights[1] = 0  # nothing speaks for class 1
  found = jax.jit(sizes.prediction_sparsity)(scores, weights, classes)
  wanted = [
    _fewest(row * weights[k], 0.9)
    for row, k in zip(scores, classes, strict=True)
  ]
  assert_allclose(found, wanted)
  assert np.isnan(found).any()


def test_uniqueness_counts_a_place_once():
  places = np.array([[3, 1], [3, 1], [3, 2], [4, 1]])
  assert sizes.uniqueness(places, np.ones(4, bool)) == 0.75
  # A dead copy does not count.
  assert sizes.uniqueness(places, np.array([True, False, True, True])) == 1
  assert np.isnan(sizes.uniqueness(places, np.zeros(4, bool)))
