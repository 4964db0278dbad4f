"""Parts and places against loops written from the papers."""

import functools

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from protojax.metrics import parts
from protojax.metrics.means import mean

RATES, PURITY = jax.jit(parts.rates), jax.jit(parts.purity)
CONSISTENCY = jax.jit(functools.partial(parts.consistency, threshold=0.7))


def _draw(b=12, q=5, r=4, seed=0):
  """Tables, what is seen, and which images count for which prototype."""
  generator = np.random.default_rng(seed)
  seen = generator.random((b, r)) < 0.7
  at = (generator.random((b, q, r)) < 0.6) & seen[:, None]
  return at, seen, generator.random((b, q)) < 0.6


def _rate(at, seen, counted, q, r):
  """Average of o over the images that show the part (Huang et al., 2023)."""
  found = [at[i, q, r] for i in range(len(at)) if counted[i, q] and seen[i, r]]
  return sum(found) / len(found) if found else float("nan")


def test_rates_purity_and_consistency_equal_the_loop():
  for seed in range(5):
    at, seen, counted = _draw(seed=seed)
    seen[:, 3] = False  # a part that nobody sees
    at &= seen[:, None]
    counted[:, 4] = False  # a prototype without images
    rates, purity, consistent = (
      np.asarray(of(at, seen, counted)) for of in (RATES, PURITY, CONSISTENCY)
    )
    for q in range(5):
      wanted = [_rate(at, seen, counted, q, r) for r in range(4)]
      assert_allclose(rates[q], wanted, rtol=1e-6)
      defined = [x for x in wanted if x == x]
      if not defined:
        assert np.isnan(purity[q])
        assert np.isnan(consistent[q])
        continue
      assert_allclose(purity[q], max(defined), rtol=1e-6)
      assert consistent[q] == (max(defined) >= 0.7)
    _, count, left_out = mean(consistent)
    assert (count, left_out) == (4, 1)


def test_a_rate_at_the_threshold_is_consistent():
  """Four of five images: float32 makes 0.8 of it, not less."""
  at = np.array([True] * 4 + [False])[:, None, None]
  everything = np.ones((5, 1), bool)
  assert jax.jit(parts.consistency)(at, everything, everything) == 1


def test_stability_equals_the_loop_and_leaves_out_what_shows_no_part():
  before, seen, counted = _draw()
  after, _, _ = _draw(seed=1)
  seen[:3] = False
  before, after = before & seen[:, None], after & seen[:, None]
  counted[:, 1] = False
  found = np.asarray(jax.jit(parts.stability)(before, after, seen, counted))
  for q in range(5):
    same = [
      (before[i, q] == after[i, q]).all()
      for i in range(len(before))
      if counted[i, q] and seen[i].any()
    ]
    assert_allclose(found[q], np.mean(same) if same else np.nan, rtol=1e-6)


def _contained(box, part):
  (top, left, bottom, right), (row, column) = box, part
  return top <= row <= bottom and left <= column <= right


def test_contained_equals_the_loop():
  generator = np.random.default_rng(0)
  places = generator.integers(0, 64, (3, 4, 2))
  points = generator.integers(0, 64, (3, 5, 2))
  seen = generator.random((3, 5)) < 0.5
  boxes = jax.jit(parts.boxes, static_argnums=(1, 2))(places, 64, 48)
  found = np.asarray(jax.jit(parts.contained)(boxes, points, seen))
  for i, j, r in np.ndindex(found.shape):
    row, column = places[i, j]
    box = (
      max(row - 10, 0),
      max(column - 8, 0),
      min(row + 10, 64),
      min(column + 8, 48),
    )
    assert found[i, j, r] == (seen[i, r] and _contained(box, points[i, r]))


def test_same_cells_equals_the_loop():
  generator = np.random.default_rng(0)
  before, after = generator.integers(0, 3, (2, 9, 4))
  counted = generator.random((9, 4)) < 0.5
  counted[:, 2] = False
  found = np.asarray(jax.jit(parts.same_cells)(before, after, counted))
  for q in range(4):
    same = [
      a == b
      for a, b, c in zip(before[:, q], after[:, q], counted[:, q], strict=True)
      if c
    ]
    assert_allclose(found[q], np.mean(same) if same else np.nan, rtol=1e-6)


def test_noise_is_small_and_of_each_image_alone():
  images = np.full((4, 32, 32, 3), 128, np.uint8)
  keys = jax.random.split(jax.random.key(0), 4)
  noise = np.asarray(jax.jit(parts.noisy)(images, keys)) - 128
  assert np.abs(noise).max() <= parts.MOST_NOISE + 1e-4
  # A normal of deviation 1 cut off at 1.25.
  assert_allclose(noise.std() / parts.NOISE, 0.8138, atol=0.005)
  turned = np.asarray(jax.jit(parts.noisy)(images, keys[::-1])) - 128
  assert_array_equal(turned[::-1], noise)
