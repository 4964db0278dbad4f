"""Heat maps against masks: loops from the papers, and numbers by hand."""

import jax
import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.metrics import localisation
from protojax.metrics.means import mean


def _scaled(heat):
  low, high = heat.min(), heat.max()
  return (heat - low) / (high - low)


def _content(heat, mask):
  heat = _scaled(heat)
  found = [heat[y, x] for y, x in np.argwhere(mask)]
  return sum(found) / len(found)


def _outside_inside(heat, mask):
  return _content(heat, ~mask) / _content(heat, mask)


def _overlap(heat, mask):
  heat, shared, either = _scaled(heat), 0, 0
  for y, x in np.ndindex(heat.shape):
    warm = heat[y, x] >= 0.5
    shared += warm and mask[y, x]
    either += warm or mask[y, x]
  return shared / either


def _energy(heat, mask):
  heat = np.maximum(heat, 0)
  return sum(heat[y, x] for y, x in np.argwhere(mask)) / heat.sum()


def _relevance(heat, mask, area=0.1):
  hottest = np.argsort(-heat.ravel())[: round(area * heat.size)]
  return np.mean([mask.ravel()[i] for i in hottest])


def _hits(heat, mask, tolerance=0):
  row, column = np.unravel_index(heat.argmax(), heat.shape)
  return float(
    any(
      (y - row) ** 2 + (x - column) ** 2 <= tolerance**2
      for y, x in np.argwhere(mask)
    )
  )


LOOPS = {
  localisation.content: _content,
  localisation.outside_inside: _outside_inside,
  localisation.overlap: _overlap,
  localisation.energy: _energy,
  localisation.relevance: _relevance,
  localisation.hits: _hits,
}
# Compiled once for all tests of a metric.
COMPILED = {metric: jax.jit(metric) for metric in LOOPS}


def _draw(b=3, q=4, size=11):
  generator = np.random.default_rng(0)
  maps = generator.normal(size=(b, q, size, size)).astype(np.float32)
  return maps, generator.random((b, size, size)) < 0.3


@pytest.mark.parametrize("metric", LOOPS)
def test_equals_the_loop(metric):
  maps, masks = _draw()
  found = np.asarray(COMPILED[metric](maps, masks))
  for i, j in np.ndindex(found.shape):
    wanted = LOOPS[metric](maps[i, j], masks[i])
    assert_allclose(found[i, j], wanted, rtol=2e-5)


@pytest.mark.parametrize("metric", LOOPS)
def test_an_image_without_object_is_left_out(metric):
  maps, masks = _draw()
  alone = np.asarray(COMPILED[metric](maps, masks))[1:]
  masks[0] = False
  found = np.asarray(COMPILED[metric](maps, masks))
  assert np.isnan(found[0]).all()
  value, count, left_out = mean(found)
  assert_allclose(value, alone.mean(), rtol=1e-5)
  assert (count, left_out) == (8, 4)


def test_what_else_is_not_defined():
  flat, mask = np.full((1, 1, 4, 4), 0.7, np.float32), np.eye(4, dtype=bool)
  for metric in (
    localisation.content,
    localisation.outside_inside,
    localisation.overlap,
  ):
    assert np.isnan(COMPILED[metric](flat, mask[None]))
  # No heat: nothing to share out.
  assert np.isnan(COMPILED[localisation.energy](-flat, mask[None]))
  heat = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
  everything = np.ones((1, 4, 4), bool)
  outside_inside = COMPILED[localisation.outside_inside]
  assert np.isnan(outside_inside(heat, everything))
  # The coldest pixel alone is object: the ratio has no end.
  coldest = (heat == 0)[0]
  assert np.isnan(outside_inside(heat, coldest))
  assert COMPILED[localisation.content](heat, coldest) == 0


def test_by_hand():
  heat = np.zeros((1, 1, 4, 4), np.float32)
  heat[0, 0, :2, :2] = 4
  mask = np.zeros((1, 4, 4), bool)
  mask[0, :2, :4] = True
  assert COMPILED[localisation.content](heat, mask) == 0.5
  assert COMPILED[localisation.outside_inside](heat, mask) == 0
  assert COMPILED[localisation.overlap](heat, mask) == 0.5
  assert COMPILED[localisation.energy](heat, mask) == 1
  assert localisation.coverage(mask) == 0.5


def test_equally_hot_pixels_share_the_last_places():
  """Two of four hottest pixels lie on the object, in whatever order."""
  heat = np.zeros((1, 1, 4, 4), np.float32)
  heat[0, 0, 0] = 1
  mask = np.zeros((1, 4, 4), bool)
  mask[0, 0, :2] = True
  relevance = jax.jit(localisation.relevance, static_argnames="area")
  for flipped in (mask, mask[:, :, ::-1]):
    found = relevance(heat, flipped, area=1 / 16)
    assert found == 0.5
  # A flat map says what chance would.
  found = relevance(np.ones_like(heat), mask, area=0.25)
  assert_allclose(found, localisation.coverage(mask)[:, None])


@pytest.mark.parametrize("tolerance", [0, 1, 2, 4])
def test_a_hit_may_miss_by_the_tolerance(tolerance):
  maps, masks = _draw(b=8, q=6)
  masks &= np.random.default_rng(1).random(masks.shape) < 0.1
  found = jax.jit(localisation.hits, static_argnums=2)(maps, masks, tolerance)
  found = np.asarray(found)
  for i, j in np.ndindex(found.shape):
    wanted = _hits(maps[i, j], masks[i], tolerance)
    assert found[i, j] == wanted or not masks[i].any()


def test_a_hotter_object_is_never_judged_worse():
  maps, masks = _draw()
  maps = np.abs(maps)
  hotter = np.where(masks[:, None], maps + 5, maps).astype(np.float32)
  for metric, judge in COMPILED.items():
    before, after = judge(maps, masks), judge(hotter, masks)
    if metric is localisation.outside_inside:
      before, after = after, before
    assert (after >= before).all()
