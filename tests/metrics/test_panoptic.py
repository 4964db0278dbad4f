"""Panoptic quality against the plain loops of its definition."""

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.metrics import panoptic
from protojax.metrics.panoptic import Planes

CLASSES = 4
_COUNT = jax.jit(panoptic.count, static_argnums=2)


def _planes(rng, segments, size=12):
  """Some blocks of random segments, and void."""
  blocks = rng.integers(-1, segments, (2, 4, 4))
  plane = np.kron(blocks, np.ones((1, size // 4, size // 4))).astype(np.int32)
  classes = rng.integers(0, CLASSES, (2, segments)).astype(np.int32)
  return Planes(plane, classes, np.ones((2, segments), bool))


def _by_hand(answers, truth, crowd):
  """Counts of one image, pair by pair."""
  found = {name: np.zeros(CLASSES) for name in panoptic.Counts._fields}
  void = (truth.plane < 0) & (crowd >= CLASSES)
  matched_said, matched_true = set(), set()
  for s, k in enumerate(answers.classes):
    for t, other in enumerate(truth.classes):
      said, real = answers.plane == s, truth.plane == t
      if k != other or not (said & real).any():
        continue
      share = (said & real).sum() / ((said | real) & ~(void & ~real)).sum()
      if share > 0.5:
        found["right"][k] += 1
        found["overlap"][k] += share
        matched_said.add(s)
        matched_true.add(t)
  for t, k in enumerate(truth.classes):
    if t not in matched_true and (truth.plane == t).any():
      found["missed"][k] += 1
  for s, k in enumerate(answers.classes):
    said = answers.plane == s
    if s in matched_said or not said.any():
      continue
    ignored = said & (void | ((crowd == k) & (truth.plane < 0)))
    if ignored.sum() <= 0.5 * said.sum():
      found["wrong"][k] += 1
  return found


def test_counts_are_those_of_the_definition():
  rng = np.random.default_rng(0)
  right = 0
  for _ in range(40):
    truth = _planes(rng, 5)
    answers = _planes(rng, 5)
    same = rng.uniform(size=(2, 1, 12)) < 0.8
    plane = np.where(same, truth.plane, answers.plane)
    classes = np.where(
      rng.uniform(size=(2, 5)) < 0.8, truth.classes, answers.classes
    ).astype(np.int32)
    answers = Planes(plane, classes, answers.valid)
    crowd = np.where(truth.plane < 0, rng.integers(0, 6, (2, 12, 12)), CLASSES)
    found = _COUNT(answers, truth, CLASSES, crowd)
    for i in range(2):
      one = Planes(*(x[i] for x in answers))
      other = Planes(*(x[i] for x in truth))
      expected = _by_hand(one, other, crowd[i])
      for name, value in expected.items():
        assert_allclose(getattr(found, name)[i], value, atol=1e-5)
      right += expected["right"].sum()
  assert right > 50


def test_the_truth_scores_1_and_swapped_classes_0():
  rng = np.random.default_rng(1)
  truth = _planes(rng, 5)
  things = np.array([True, False, True, False])

  def scores(answers):
    total = panoptic.nothing(CLASSES)
    total = panoptic.added(total, _COUNT(answers, truth, CLASSES))
    return panoptic.scores(total, things)

  found = scores(truth)
  assert set(found) == {"pq", "sq", "rq", "pq_things", "pq_stuff"}
  assert_array_equal(list(found.values()), 1.0)
  swapped = truth._replace(classes=(truth.classes + 1) % CLASSES)
  assert scores(swapped)["pq"] == 0


def test_a_set_without_segments_has_no_quality():
  found = panoptic.scores(panoptic.nothing(CLASSES), np.zeros(CLASSES, bool))
  assert np.isnan(found["pq"])
  assert "pq_things" not in found


@pytest.mark.parametrize(("label", "wrong"), [(2, 0), (1, 1)])
def test_a_crowd_of_its_class_takes_a_segment(label, wrong):
  plane = np.zeros((1, 4, 4), np.int32)
  answers = Planes(plane, np.array([[2]]), np.ones((1, 1), bool))
  truth = Planes(plane - 1, np.array([[0]]), np.zeros((1, 1), bool))
  crowd = np.full((1, 4, 4), label)
  found = _COUNT(answers, truth, CLASSES, crowd)
  assert found.wrong.sum() == wrong
