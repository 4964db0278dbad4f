"""Boxes on grids, hills in them, and what is steered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.diffusion import regions

GRID = (4, 10)
SIZE = (32, 80)


def _objects(boxes, category, words=None, most=4, stride=4):
  boxes = np.array(boxes, float).reshape(-1, 4)
  count = 3 if words is None else words.shape[1]
  places = regions.on_grid(boxes, SIZE, GRID)
  size = SIZE[0] // stride, SIZE[1] // stride
  cells = regions.in_cells(boxes, stride, size, 0.1)
  words = np.zeros((1, count, 6), bool) if words is None else words
  return regions.padded([places], [cells], [np.array(category)], words, most)


_layout = jax.jit(regions.layout, static_argnums=(1, 2))


def _naive_hill(shape, spread=0.1):
  """A hill on rows x columns of a box, after the code's two `linspace`."""
  y, x = (np.linspace(0, 1, n) for n in shape)
  d2 = (y[:, None] - 0.5) ** 2 + (x[None] - 0.5) ** 2
  return np.exp(-d2 / (2 * spread**2))


@pytest.mark.parametrize(
  ("box", "wanted"),
  [
    ((0, 0, 32, 80), (0, 0, 4, 10)),
    ((3, 12, 21, 28), (0, 2, 3, 4)),  # 1.5 tokens round to 2, 3.5 to 4
    ((3, 12, 21, 20), (0, 1, 3, 3)),  # 2.5 rounds to 2, too: flat
    ((9, 9, 10, 30), (0, 1, 2, 4)),  # flat in its rows, made larger
    ((31, 79, 32, 80), (4, 10, 4, 10)),  # behind the grid: no token
  ],
)
def test_boxes_on_the_grid(box, wanted):
  found = regions.on_grid(np.array([box], float), SIZE, GRID)[0]
  if wanted == (4, 10, 4, 10):
    assert found[0] == 3 == found[2]
    assert found[1] == 9 == found[3]
  else:
    np.testing.assert_array_equal(found, wanted)


def test_boxes_in_cells_are_larger_by_a_share_and_cut_off():
  boxes = np.array([[40.0, 48, 120, 97], [0, 0, 300, 400], [9, 9, 15, 15]])
  found = regions.in_cells(boxes, 8, (30, 40), 0.1)
  # 5..15 and 6..12, by one row and by 0.6 columns on each side.
  np.testing.assert_array_equal(found[0], [4, 5, 16, 12])
  np.testing.assert_array_equal(found[1], [0, 0, 30, 40])
  np.testing.assert_array_equal(found[2], [1, 1, 1, 1])


def test_boxes_of_an_image_that_was_resized():
  found = regions.rescaled(
    np.array([[10.0, 20, 30.9, 41]]), (375, 1242), (368, 1240)
  )
  np.testing.assert_array_equal(found, [[9, 19, 30, 40]])


def test_a_hill_is_highest_in_the_middle_and_stays_in_its_box():
  objects = _objects([[0, 8, 24, 48]], [1])
  found = np.asarray(_layout(objects, GRID, 0.1)).reshape(GRID)
  hill = _naive_hill((3, 5))
  wanted = np.zeros(GRID)
  wanted[0:3, 1:6] = hill / hill.max()
  np.testing.assert_allclose(found, wanted, atol=1e-6)
  assert found.argmax() == np.ravel_multi_index((1, 3), GRID)


def test_hills_of_a_category_are_scaled_together_and_categories_added():
  boxes = [[0, 0, 32, 40], [0, 0, 32, 40], [0, 0, 32, 80]]
  found = np.asarray(_layout(_objects(boxes, [0, 0, 2]), GRID, 0.3))
  first, whole = np.zeros(GRID), _naive_hill(GRID, 0.3)
  first[:, :5] = 2 * _naive_hill((4, 5), 0.3)
  wanted = first / first.max()
  wanted = wanted + (whole - whole.min()) / (whole.max() - whole.min())
  np.testing.assert_allclose(found.reshape(GRID), wanted, atol=1e-5)


def _words(seed=0):
  found = np.random.default_rng(seed).random((1, 40, 6)).astype(np.float32)
  return jnp.asarray(found / found.sum(-1, keepdims=True))


def _named():
  named = np.zeros((1, 3, 6), bool)
  named[0, 0, [1, 2]] = named[0, 2, 4] = True
  return named


@functools.partial(jax.jit, static_argnums=(0, 2))
def _region(kind, objects, threshold=0.3):
  hills = regions.layout(objects, GRID, 0.1)
  return regions.region(kind, _words(), objects, hills, GRID, threshold)


def test_attention_is_summed_over_a_category_and_averaged_over_them():
  objects = _objects([[0, 0, 9, 9]], [0], _named())
  words = np.asarray(_words())[0]
  each = words[:, [1, 2]].sum(-1), words[:, 4]
  wanted = np.mean([(x - x.min()) / np.ptp(x) for x in each], axis=0)
  found = regions.attended(_words(), objects)
  np.testing.assert_allclose(found[0], wanted, atol=1e-5)


def test_the_kinds_of_regions():
  objects = _objects([[0, 0, 24, 40], [8, 50, 32, 80]], [0, 2], _named())
  cross, layout, both, boxes, every = (
    np.asarray(_region(kind, objects)[0])
    for kind in ("cross", "layout", "both", "inside", "none")
  )
  assert every.all()
  there = np.asarray(regions.inside(objects.places, GRID))[0, :2].any(0)
  np.testing.assert_array_equal(boxes, there.ravel())
  assert (layout <= boxes).all()
  assert ((cross | layout) <= both).all()
  assert both.sum() > max(cross.sum(), layout.sum())


def test_a_higher_threshold_leaves_less():
  objects = _objects([[0, 0, 24, 40], [8, 50, 32, 80]], [0, 2], _named())
  sizes = []
  last = None
  for threshold in (0.0, 0.2, 0.5, 0.9, 2.5):
    found = np.asarray(_region("both", objects, threshold))
    assert last is None or (found <= last).all()
    last = found
    sizes.append(found.sum())
  assert sizes[0] > sizes[2] > sizes[-1] == 0


@jax.jit
def _all(objects):
  """All that is made of objects."""
  hills = regions.layout(objects, GRID, 0.1)
  size = SIZE[0] // 4, SIZE[1] // 4
  return (
    hills,
    regions.attended(_words(), objects),
    regions.pull(objects, size, 3, 20.0),
  )


def test_padding_and_the_order_of_boxes_and_categories_change_nothing():
  boxes = np.array([[0, 0, 24, 40], [8, 50, 32, 80], [4, 4, 30, 30]], float)
  plain = _objects(boxes, [0, 2, 2], _named(), most=3)
  more = _objects(boxes, [0, 2, 2], _named(), most=7)
  turned = _objects(boxes[::-1], [2, 2, 0], _named(), most=3)
  order = np.array([2, 0, 1])
  renamed = _objects(
    boxes, np.argsort(order)[[0, 2, 2]], _named()[:, order], most=3
  )
  for other in (more, turned, renamed):
    for a, b in zip(_all(plain), _all(other), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_pull_of_boxes_is_the_gradient_of_their_weighted_means():
  boxes = [[0, 0, 24, 40], [8, 8, 12, 12], [0, 5, 2, 6]]
  objects = _objects(boxes, [0, 1, 1])
  rng = np.random.default_rng(0)
  x, example = (rng.normal(size=(1, 8, 20, 3)).astype(np.float32) for _ in "ab")
  factor = regions.pull(objects, (8, 20), 3, 20.0)
  wanted = 0.0
  # 0..6.6 and 0..11 of 8 x 20 cells; 2..3, from 1.9, that is from 1, whose
  # weight is 20; the last has no row and counts for nothing.
  for (top, left, bottom, right), weight in (
    ((0, 0, 6, 11), 160 / 66),
    ((1, 1, 3, 3), 20),
  ):
    part = np.s_[0, top:bottom, left:right]
    wanted += weight * np.mean((x[part] - example[part]) ** 2)
  found = regions.shallow_loss(jnp.asarray(x), jnp.asarray(example), factor)
  np.testing.assert_allclose(found, [wanted], rtol=1e-5)
  assert np.isfinite(factor).all()
