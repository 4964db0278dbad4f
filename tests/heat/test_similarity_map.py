"""Maps to pixels and boxes, against OpenCV and loops."""

import cv2
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.heat import similarity_map


@pytest.mark.parametrize(
  ("cells", "pixels"),
  [
    ((7, 7), (224, 224)),
    ((4, 4), (64, 64)),
    ((3, 5), (50, 31)),
    ((1, 1), (9, 8)),
    ((1, 6), (10, 90)),
    ((14, 9), (7, 5)),
  ],
)
def test_upsample_equals_opencv(cells, pixels):
  maps = np.random.default_rng(0).normal(size=(3, *cells)).astype(np.float32)
  expected = [
    cv2.resize(one, pixels[::-1], interpolation=cv2.INTER_CUBIC) for one in maps
  ]
  assert_allclose(
    similarity_map.upsample(maps, *pixels), np.stack(expected), atol=1e-5
  )


def test_upsample_keeps_a_constant():
  maps = np.full((1, 5, 3), 2.5, np.float32)
  assert_allclose(similarity_map.upsample(maps, 40, 33), 2.5, rtol=1e-6)


def box_by_loop(one, percentile):
  threshold = np.percentile(one, percentile)
  high = [
    (y, x)
    for y in range(one.shape[0])
    for x in range(one.shape[1])
    if one[y, x] >= threshold
  ]
  ys, xs = [y for y, _ in high], [x for _, x in high]
  return [min(ys), min(xs), max(ys) + 1, max(xs) + 1]


@pytest.mark.parametrize("percentile", [50.0, 95.0, 99.9, 100.0])
def test_box_equals_a_loop(percentile):
  rng = np.random.default_rng(0)
  maps = np.asarray(
    similarity_map.upsample(rng.random((6, 4, 5), np.float32), 31, 42)
  )
  assert_array_equal(
    similarity_map.percentile_box(maps, percentile),
    [box_by_loop(one, percentile) for one in maps],
  )


def test_box_holds_every_high_region():
  one = np.zeros((1, 40, 40), np.float32)
  one[0, 3, 5] = one[0, 30, 20:23] = 1.0
  assert_array_equal(similarity_map.percentile_box(one, 99.9), [[3, 5, 31, 23]])


def test_box_of_a_flat_map_is_all_of_it():
  flat = np.full((1, 6, 7), 0.1, np.float32)
  assert_array_equal(similarity_map.percentile_box(flat), [[0, 0, 6, 7]])
