"""Queries and segments are matched, compared at points, and lost by."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest
from scipy import ndimage, optimize

from protojax.methods.pem import losses, matching, segments

_MATCHED = jax.jit(matching.matched)
SETTINGS = losses.Settings(0, 3.0, 0.75, 0.1, (2.0, 5.0, 5.0), False)


def test_matchings_are_scipys():
  rng = np.random.default_rng(0)
  for n in range(200):
    shape = ((6, 4), (4, 6))[n % 2]
    cost = rng.normal(size=shape).astype(np.float32)
    valid = rng.uniform(size=shape[1]) < 0.7
    found = jax.device_get(_MATCHED(cost, valid))
    rows, columns = optimize.linear_sum_assignment(cost[:, valid])
    kept = found.valid
    assert kept.sum() == len(rows)
    pairs = dict(zip(found.segment[kept], found.query[kept], strict=True))
    real = np.flatnonzero(valid)
    assert {int(t): int(q) for t, q in pairs.items()} == {
      int(real[t]): int(q) for q, t in zip(rows, columns, strict=True)
    }


def test_a_matching_of_nan_ends():
  found = _MATCHED(np.full((3, 2), np.nan, np.float32), np.ones(2, bool))
  assert found.valid.all()


def _softplus(x):
  return np.logaddexp(0, x)


def _by_hand(logits, masks, plane, classes, valid, skip=False):
  """(class loss, weight, mask loss, dice) of an image at all its pixels."""
  h, w = plane.shape
  big = np.stack(
    [
      np.asarray(jax.image.resize(m, (h, w), "linear", antialias=False))
      for m in masks
    ]
  ).reshape(len(masks), -1)
  real = np.flatnonzero(valid)
  targets = np.stack([(plane == t).reshape(-1) for t in real]).astype(float)
  known = np.ones(h * w) if not skip else (plane >= 0).reshape(-1).astype(float)
  share = np.exp(logits - logits.max(-1, keepdims=True))
  share /= share.sum(-1, keepdims=True)
  inside = 1 / (1 + np.exp(-big))

  def pair(q, t):
    each = _softplus(big[q]) - big[q] * targets[t]
    entropy = (each * known).sum() / known.sum()
    both = (inside[q] * targets[t] * known).sum()
    sizes = (inside[q] * known).sum() + (targets[t] * known).sum()
    return entropy, 1 - (2 * both + 1) / (sizes + 1)

  cost = np.array(
    [
      [
        -2 * share[q, classes[real[t]]] + 5 * sum(pair(q, t))
        for t in range(len(real))
      ]
      for q in range(len(logits))
    ]
  )
  rows, columns = optimize.linear_sum_assignment(cost)
  wanted = np.full(len(logits), logits.shape[1] - 1)
  wanted[rows] = classes[real[columns]]
  weight = np.where(wanted == logits.shape[1] - 1, 0.1, 1.0)
  nll = -np.log(share[np.arange(len(logits)), wanted])
  pairs = [pair(q, t) for q, t in zip(rows, columns, strict=True)]
  return (weight * nll).sum(), weight.sum(), *np.sum(pairs, axis=0)


@pytest.mark.parametrize(
  "skip", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_losses_at_all_pixels_are_those_of_plain_loops(skip):
  rng = np.random.default_rng(1)
  logits = rng.normal(size=(2, 2, 6, 4)).astype(np.float32)
  masks = rng.normal(size=(2, 2, 6, 4, 4)).astype(np.float32)
  plane = rng.integers(-1, 3, (2, 8, 8)).astype(np.int32)
  classes = np.array([[2, 0, 1], [1, 1, 0]], np.int32)
  valid = np.array([[True, True, True], [True, True, False]])
  plane[1][plane[1] == 2] = -1
  own = segments.Segments(plane, classes, valid)
  keys = jax.random.split(jax.random.key(0), 2)
  settings = SETTINGS._replace(skip_void=skip)
  found = jax.jit(losses.of_predictions, static_argnums=4)(
    logits, masks, own, keys, settings
  )
  for p in range(2):
    expected = np.sum(
      [
        _by_hand(
          logits[p, b].astype(float),
          masks[p, b],
          plane[b],
          classes[b],
          valid[b],
          skip,
        )
        for b in range(2)
      ],
      axis=0,
    )
    values = (found.classes, found.weight, found.masks, found.dice)
    assert_allclose([x[p] for x in values], expected, rtol=1e-4)
  assert_array_equal(found.pairs, 5)


def test_points_are_drawn_where_a_mask_is_least_certain():
  rows = np.linspace(-8, 8, 16, dtype=np.float32)
  mask = np.repeat(rows[:, None], 16, axis=1)
  settings = SETTINGS._replace(points=400)
  points = jax.jit(losses.drawn, static_argnums=2)(
    mask, jax.random.key(0), settings
  )
  assert points.shape == (400, 2)
  near = np.asarray(points)[:300, 0]
  # A quarter of the candidates, those around the middle.
  assert np.abs(near - 0.5).max() < 0.25
  assert np.abs(np.asarray(points)[300:, 0] - 0.5).max() > 0.4


def test_masks_are_read_at_points_as_scipy_reads_them():
  rng = np.random.default_rng(2)
  masks = rng.normal(size=(3, 6, 9)).astype(np.float32)
  points = rng.uniform(size=(50, 2)).astype(np.float32)
  found = jax.jit(losses._read)(masks, points)
  at = points.T * np.array([[6], [9]]) - 0.5
  for q in range(3):
    padded = np.pad(masks[q], 2).astype(float)
    expected = ndimage.map_coordinates(padded, at + 2, order=1)
    assert_allclose(found[q], expected, atol=1e-5)


@pytest.mark.slow
def test_many_points_come_near_the_loss_at_all_pixels():
  """Uniform ones; those by importance weigh borders more."""
  rng = np.random.default_rng(3)
  logits = rng.normal(size=(1, 1, 4, 3)).astype(np.float32)
  plane = np.kron(np.array([[0, 1], [1, -1]]), np.ones((32, 32)))
  plane = plane.astype(np.int32)
  # Queries 0 and 1 are nearest to the segments; all are uncertain.
  near = np.where(plane[None] == np.arange(4)[:, None, None], 1.0, -1.0)
  masks = near + rng.normal(scale=0.2, size=(4, 64, 64))
  masks = masks[None, None].astype(np.float32)
  own = segments.Segments(
    plane[None], np.array([[0, 1]]), np.ones((1, 2), bool)
  )
  keys = jax.random.split(jax.random.key(0), 1)
  of = jax.jit(losses.of_predictions, static_argnums=4)
  whole = of(logits, masks, own, keys, SETTINGS)
  some = of(
    logits, masks, own, keys, SETTINGS._replace(points=8000, importance=0.0)
  )
  assert_allclose(some.classes, whole.classes, rtol=1e-5)
  assert_allclose(some.masks, whole.masks, rtol=0.05)
  assert_allclose(some.dice, whole.dice, rtol=0.05)


def test_segments_of_classes_and_of_instances_are_the_same():
  rng = np.random.default_rng(4)
  mask = rng.integers(0, 3, (2, 5, 5)).astype(np.int32)
  mask[0][mask[0] == 1] = 255
  found = jax.jit(segments.of_classes, static_argnums=1)(mask, 3)
  assert_array_equal(found.valid, [[True, False, True], [True, True, True]])
  masks = mask[:, None] == np.arange(3)[None, :, None, None]
  same = segments.of_instances(
    {
      "masks": masks,
      "classes": np.tile(np.arange(3), (2, 1)),
      "valid": masks.any((2, 3)),
    }
  )
  assert_array_equal(same.plane, found.plane)
  assert_array_equal(segments.classes_of(same), mask)
  assert jnp.array_equal(same.valid, found.valid)
