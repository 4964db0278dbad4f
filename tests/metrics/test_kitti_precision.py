"""AP by KITTI's rules on scenes whose answer is known."""

import math

import numpy as np
import pytest

from protojax.data import cuboids
from protojax.metrics import kitti_precision
from protojax.metrics.kitti_precision import ALL, DIFFICULTIES, OVERLAPS

EASY, MODERATE, _ = DIFFICULTIES


def _objects(*rows):
  """Objects of (kind, left, height of the box, score)."""
  n = len(rows)
  left = np.array([row[1] for row in rows], float).reshape(n)
  high = np.array([row[2] for row in rows], float).reshape(n)
  boxes = np.stack([left, 0 * left, left + 50, high], axis=1)
  return cuboids.made(
    [row[0] for row in rows],
    boxes,
    np.tile([1.5, 1.6, 4.0], (n, 1)),
    np.stack([left / 10, 0 * left + 1.5, 0 * left + 20], axis=1),
    np.zeros(n),
    np.array([row[3] for row in rows], float).reshape(n),
  )


def _ap(truth, found, kind="Car", rule=EASY, view="2d"):
  # With 40 objects or fewer, a recall of 1 is not among those that are asked.
  times = 80 // len(truth)
  return kitti_precision.average_precision(
    times * truth, times * found, kind, rule, view, OVERLAPS[kind]
  )


@pytest.mark.parametrize("view", kitti_precision.VIEWS)
def test_all_found_is_1_and_a_sure_error_halves_precision(view):
  truth = [_objects(("Car", 0, 50, np.nan)) for _ in range(40)]
  right = [_objects(("Car", 0, 50, 0.9 - i / 100)) for i in range(40)]
  assert _ap(truth, right, view=view) == pytest.approx(1)
  wrong = [
    _objects(("Car", 0, 50, 0.9 - i / 100), ("Car", 500, 50, 0.95))
    for i in range(40)
  ]
  # At any recall, the best precision is the last: half are right.
  assert _ap(truth, wrong, view=view) == pytest.approx(0.5)


def test_half_found_is_a_half():
  truth = [_objects(("Car", 0, 50, np.nan)) for _ in range(80)]
  found = [
    _objects(("Car", 0, 50, 0.9)) if i % 2 else cuboids.empty()
    for i in range(80)
  ]
  assert _ap(truth, found) == pytest.approx(0.5, abs=0.03)
  nothing = [cuboids.empty()] * 80
  assert _ap(truth, nothing) == 0
  assert math.isnan(_ap(nothing, found))


def test_what_need_not_be_found_is_no_error():
  """Small, hidden, cut off, a van, and an area that nobody labelled."""
  truth = _objects(
    ("Car", 0, 50, np.nan),
    ("Car", 100, 30, np.nan),
    ("Car", 200, 50, np.nan),
    ("Car", 300, 50, np.nan),
    ("Van", 400, 50, np.nan),
    ("DontCare", 500, 50, np.nan),
  )
  truth.occluded[2], truth.truncated[3] = 1, 0.2
  found = _objects(
    *(("Car", x, 30 if x == 100 else 50, 0.9) for x in range(0, 600, 100))
  )
  assert _ap([truth], [found]) == pytest.approx(1)
  # Moderate asks for the four cars, too; all are there.
  assert _ap([truth], [found], rule=MODERATE) == pytest.approx(1)
  lacks = [found.chosen([0, 4, 5])]
  assert _ap([truth], lacks) == pytest.approx(1)
  assert _ap([truth], lacks, rule=MODERATE) < 0.5
  # In space the area does not excuse.
  assert _ap([truth], [found], view="bev") < 1


def test_a_second_answer_for_one_object_is_wrong():
  truth = 2 * [_objects(("Car", 0, 50, np.nan))]
  twice = _objects(("Car", 0, 50, 0.9), ("Car", 1, 50, 0.95))
  once = _objects(("Car", 0, 50, 0.5))
  # Above recall 1/2, one of three is wrong.
  expected = (1 + 2 / 3) / 2
  assert _ap(truth, [twice, once]) == pytest.approx(expected)
  # A small object that nobody asks for, and an answer of another class.
  other = [_objects(("Car", 0, 50, 0.9), ("Cyclist", 1, 50, 0.95))]
  assert _ap(truth[:1], other) == pytest.approx(1)


def test_the_table_has_views_classes_and_difficulties():
  truth = [_objects(("Car", 0, 20, np.nan), ("Cyclist", 90, 50, np.nan))]
  found = [_objects(("Car", 0, 20, 0.9), ("Cyclist", 90, 50, 0.8))]
  table = kitti_precision.table(
    truth, found, {"Car": 0.7, "Cyclist": 0.5}, (EASY, ALL)
  )
  assert len(table) == 3 * 2 * 2
  assert math.isnan(table["3d", "Car", "easy"])
  # Of a single object, no recall above 0 is asked for.
  assert table["bev", "Cyclist", "all"] == 0
