"""Overlaps worked by hand, and by a naive twin that clips polygons."""

import math

import numpy as np
import pytest

from protojax.data import cuboids
from protojax.metrics import cuboid_overlap


def _solid(x, z, yaw, height=1.5, width=2.0, length=4.0, y=1.5):
  return cuboids.made(
    ("Car",),
    np.zeros((1, 4)),
    np.array([[height, width, length]]),
    np.array([[x, y, z]], float),
    np.array([yaw], float),
  )


def _clipped(subject, clip):
  """Area shared, by Sutherland and Hodgman's clipping."""

  def signed(points):
    return (
      sum(
        a[0] * b[1] - a[1] * b[0]
        for a, b in zip(points, [*points[1:], points[0]], strict=True)
      )
      / 2
    )

  subject, clip = [list(map(tuple, x)) for x in (subject, clip)]
  if signed(clip) < 0:
    clip = clip[::-1]
  for a, b in zip(clip, [*clip[1:], clip[0]], strict=True):

    def side(p, a=a, b=b):
      return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])

    found = []
    for p, q in zip(subject, [*subject[1:], subject[0]], strict=True):
      if side(p) >= 0:
        found.append(p)
      if side(p) * side(q) < 0:
        t = side(p) / (side(p) - side(q))
        found.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    subject = found
    if len(subject) < 3:
      return 0.0
  return abs(signed(subject))


@pytest.mark.parametrize(
  ("other", "above", "space"),
  [
    (_solid(0, 10, 0), 1, 1),
    # Turned half way round it is the same.
    (_solid(0, 10, math.pi), 1, 1),
    (_solid(2, 10, 0), 4 / 12, 4 / 12),
    # A cross: 2 x 2 of 8 + 8 - 4.
    (_solid(0, 10, math.pi / 2), 4 / 12, 4 / 12),
    # Half as high, and half of that above.
    (_solid(0, 10, 0, y=0.75), 1, 1 / 3),
    (_solid(0, 10, 0, width=1.0, length=2.0), 2 / 8, 2 / 8),
    (_solid(4, 10, 0), 0, 0),
    (_solid(9, 10, 0), 0, 0),
  ],
)
def test_overlaps_are_those_worked_by_hand(other, above, space):
  one = _solid(0, 10, 0)
  np.testing.assert_allclose(
    cuboid_overlap.from_above(one, other), [[above]], atol=1e-9
  )
  np.testing.assert_allclose(
    cuboid_overlap.in_space(one, other), [[space]], atol=1e-9
  )


def test_an_octagon_is_what_two_squares_share():
  one = _solid(0, 0, 0, width=2.0, length=2.0)
  turned = _solid(0, 0, math.pi / 4, width=2.0, length=2.0)
  octagon = 8 * (math.sqrt(2) - 1)
  np.testing.assert_allclose(
    cuboid_overlap.from_above(one, turned), [[octagon / (8 - octagon)]]
  )


def test_areas_are_those_of_clipped_polygons():
  rng = np.random.default_rng(0)
  n = 300
  sizes = rng.uniform(0.5, 4, (2 * n, 3))
  places = rng.uniform(-1.5, 1.5, (2 * n, 3))
  yaws = rng.uniform(-4, 4, 2 * n)
  # Some with sides on one line.
  yaws[:40] = np.pi / 2 * rng.integers(0, 4, 40)
  yaws[n : n + 40] = 0
  places[n : n + 20] = places[:20]
  flat = cuboids.grounds(sizes, places, yaws)
  found = cuboid_overlap.shared(flat[:n], flat[n:])
  expected = [_clipped(a, b) for a, b in zip(flat[:n], flat[n:], strict=True)]
  np.testing.assert_allclose(found, expected, atol=1e-7)


def test_boxes_of_the_image_and_shares_of_the_first():
  one = np.array([[0.0, 0, 4, 2]])
  other = np.array([[2.0, 0, 6, 2], [5, 5, 6, 6]])
  np.testing.assert_allclose(cuboid_overlap.of_boxes(one, other), [[1 / 3, 0]])
  np.testing.assert_allclose(
    cuboid_overlap.of_boxes(one, other, of_first=True), [[0.5, 0]]
  )
