"""Metrics of classes of pixels against loops over pixels."""

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest
from scipy import ndimage

from protojax.metrics import segmentation

K, VOID = 4, 255


def _planes(b=3, side=20, seed=0):
  """Answers and labels in patches, with void; class 3 does not occur."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, K - 1, (2, b, side // 4, side // 4))
  answers, labels = coarse.repeat(4, axis=2).repeat(4, axis=3)
  flipped = rng.random(labels.shape) < 0.1
  answers = np.where(flipped, answers, labels)
  answers = np.where(rng.random(labels.shape) < 0.02, 3, answers)
  labels = np.where(rng.random(labels.shape) < 0.1, VOID, labels)
  return answers.astype(np.int32), labels.astype(np.int32)


def _counted(answers, labels):
  count = jax.jit(segmentation.count, static_argnames="classes")
  return segmentation.added(
    segmentation.nothing(K), count(answers, labels, classes=K)
  )


def test_scores_equal_loops_over_pixels():
  answers, labels = _planes()
  pairs = np.zeros((K, K), int)
  for a, y in zip(answers.ravel(), labels.ravel(), strict=True):
    if y != VOID:
      pairs[y, a] += 1
  counts = _counted(answers, labels)
  assert_array_equal(counts.pairs, pairs)
  each = []
  for c in range(K):
    mine, said = labels == c, answers == c
    union = ((mine | said) & (labels != VOID)).sum()
    each.append((mine & said).sum() / union)
  assert_allclose(segmentation.iou(counts.pairs), each)
  found = segmentation.scores(counts)
  assert_allclose(found["miou"], np.mean(each))
  known = labels != VOID
  assert_allclose(found["pixel_accuracy"], (answers == labels)[known].mean())
  recall = [(answers == labels)[labels == c].mean() for c in range(3)]
  assert_allclose(found["class_accuracy"], np.mean(recall))


def test_boundaries_are_what_an_erosion_takes_off():
  answers, labels = _planes(side=52)
  assert segmentation.boundary_width(52, 52) == 1
  width = 2
  square = np.ones((2 * width + 1,) * 2, bool)
  for planes in (answers, labels):
    expected = np.zeros(planes.shape, bool)
    for i, plane in enumerate(planes):
      for c in np.unique(plane):
        mask = plane == c
        expected[i] |= mask & ~ndimage.binary_erosion(mask, square)
    assert_array_equal(segmentation.boundary(planes, width), expected)


def test_boundary_iou_equals_masks_of_each_class():
  answers, labels = _planes()
  known = labels != VOID
  edge = [
    np.asarray(segmentation.boundary(x, segmentation.boundary_width(20, 20)))
    for x in (answers, labels)
  ]
  each = []
  for c in range(K):
    said, mine = (answers == c) & edge[0] & known, (labels == c) & edge[1]
    union = (said | mine).sum()
    each.append((said & mine).sum() / union if union else np.nan)
  found = segmentation.scores(_counted(answers, labels))
  assert_allclose(found["boundary_iou"], np.nanmean(each))


def test_what_void_pixels_are_called_changes_nothing():
  answers, labels = _planes()
  other = np.where(labels == VOID, (answers + 1) % K, answers)
  one, two = (_counted(x, labels) for x in (answers, other))
  assert_array_equal(one.pairs, two.pairs)


def test_sets_are_sums_of_their_parts():
  answers, labels = _planes(b=4)
  whole, total = _counted(answers, labels), segmentation.nothing(K)
  for i in (0, 2):
    part = answers[i : i + 2], labels[i : i + 2]
    total = segmentation.added(total, segmentation.count(*part, K))
  for found, expected in zip(total, whole, strict=True):
    assert found.dtype == np.int64
    assert_array_equal(found, expected)


@pytest.mark.parametrize(("label", "expected"), [(VOID, np.nan), (1, 1.0)])
def test_a_class_in_no_pixel_is_left_out(label, expected):
  plane = np.full((1, 8, 8), 1, np.int32)
  found = segmentation.scores(_counted(plane, np.full_like(plane, label)))
  assert_allclose(found["miou"], expected)
  assert_allclose(found["boundary_iou"], expected)
