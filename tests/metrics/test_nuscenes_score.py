"""The score of nuScenes on samples whose answer is known."""

import numpy as np
import pytest

from protojax.data import cuboids
from protojax.metrics import nuscenes_score
from protojax.metrics.nuscenes_score import Moving


def _moving(*rows, attribute="vehicle.parked", speed=1.0):
  """Objects of (kind, x, z, yaw, length, score)."""
  n = len(rows)
  table = np.array([row[1:] for row in rows], float).reshape(n, 5)
  sizes = np.tile([1.5, 2.0, 4.0], (n, 1))
  sizes[:, 2] = table[:, 3]
  places = np.stack([table[:, 0], np.ones(n), table[:, 1]], axis=1)
  objects = cuboids.made(
    [row[0] for row in rows],
    np.zeros((n, 4)),
    sizes,
    places,
    table[:, 2],
    table[:, 4],
  )
  speeds = np.stack([np.full(n, speed), np.zeros(n)], axis=1)
  return Moving(objects, speeds, (attribute,) * n)


CAR = {"car": 50.0}


def _many(one, count=20):
  return [one] * count


def test_answers_that_are_right_have_no_error():
  truth = _many(_moving(("car", 0, 10, 0.3, 4, np.nan)))
  found = _many(_moving(("car", 0, 10, 0.3, 4, 0.9)))
  score = nuscenes_score.score(truth, found, CAR)
  assert score.mean_ap == pytest.approx(1)
  assert all(x == pytest.approx(0) for x in score.errors.values())
  assert score.nds == pytest.approx(1)


def test_errors_are_those_worked_by_hand():
  truth = _many(_moving(("car", 0, 10, 0.3, 4, np.nan)))
  # 0.6 m away, half as long, turned by 0.5, faster by 0.25, driving.
  answer = _moving(
    ("car", 0.6, 10, 0.8, 2, 0.9), attribute="vehicle.moving", speed=1.25
  )
  score = nuscenes_score.score(truth, _many(answer), CAR)
  # Right at three of four distances.
  assert score.mean_ap == pytest.approx(0.75)
  expected = {
    "place": 0.6,
    "size": 0.5,
    "direction": 0.5,
    "speed": 0.25,
    "attribute": 1.0,
  }
  assert score.errors == pytest.approx(expected)
  assert score.nds == pytest.approx((5 * 0.75 + 0.4 + 0.5 + 0.5 + 0.75) / 10)


def test_a_wrong_answer_for_each_right_one_leaves_half_of_the_precision():
  truth = _many(_moving(("car", 0, 10, 0, 4, np.nan)))
  both = _moving(("car", 0, 10, 0, 4, 0.9), ("car", 9, 20, 0, 4, 0.95))
  score = nuscenes_score.score(truth, _many(both), CAR)
  # Precision rises to 1/2 with recall: r / (20 + r) after the wrong ones.
  recalls = np.linspace(0, 1, 101)[11:]
  at = np.arange(1, 21)
  curve = np.interp(recalls, at / 20, at / (20 + at))
  expected = np.maximum(curve - 0.1, 0).mean() / 0.9
  assert score.mean_ap == pytest.approx(expected, abs=1e-6)


def test_what_is_far_away_or_not_there_does_not_count():
  truth = _many(_moving(("car", 0, 10, 0, 4, np.nan), ("car", 0, 60, 0, 4, 0)))
  found = _many(_moving(("car", 0, 10, 0, 4, 0.9)))
  score = nuscenes_score.score(truth, found, {**CAR, "barrier": 30.0})
  assert score.ap["car"] == pytest.approx(1)
  assert score.ap["barrier"] == 0
  # A barrier has a place, a size and a direction alone, all of them wrong.
  assert score.errors["place"] == pytest.approx(0.5)
  assert score.errors["speed"] == pytest.approx(0)


def test_a_barrier_has_no_front_and_speeds_may_be_unknown():
  truth = _many(_moving(("barrier", 0, 10, 0, 4, np.nan)))
  found = _many(_moving(("barrier", 0, 10, np.pi, 4, 0.9)))
  score = nuscenes_score.score(truth, found, {"barrier": 30.0})
  assert score.errors["direction"] == pytest.approx(0, abs=1e-9)
  car = [
    nuscenes_score.still(x.objects)
    for x in _many(_moving(("car", 0, 10, 0, 4, 0.9)))
  ]
  score = nuscenes_score.score(car, car, CAR)
  assert score.errors["speed"] == 1
  assert score.nds == pytest.approx((5 + 3) / 10)


def test_each_object_is_found_once_and_the_nearest_first():
  truth = _many(
    _moving(("car", 0, 10, 0, 4, np.nan), ("car", 1, 10, 0, 4, np.nan))
  )
  found = _many(_moving(("car", 0.9, 10, 0, 4, 0.9), ("car", 0, 10, 0, 4, 0.8)))
  score = nuscenes_score.score(truth, found, CAR)
  assert score.mean_ap == pytest.approx(1)
  # Means over surer answers: 0.1 m first, then 0.05 m.
  assert 0.05 < score.errors["place"] < 0.1
