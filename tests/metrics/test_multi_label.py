import numpy as np
import pytest

from protojax.metrics import multi_label

RNG = np.random.default_rng(0)
TRUTHS = (RNG.random((60, 5)) < 0.3).astype(int)
# Rounded, so that many scores are equal.
SCORES = np.round(0.4 * RNG.random((60, 5)) + 0.4 * TRUTHS, 1)
SKLEARN = pytest.importorskip("sklearn.metrics", reason="an oracle")


def test_map_is_that_of_scikit_learn():
  expected = SKLEARN.average_precision_score(TRUTHS, SCORES, average=None)
  found = multi_label.average_precisions(SCORES, TRUTHS)
  np.testing.assert_allclose(found, expected, atol=1e-12)
  assert multi_label.mean_average_precision(SCORES, TRUTHS) == pytest.approx(
    expected.mean()
  )


@pytest.mark.parametrize("kind", ["", "_top3"])
def test_agreement_is_that_of_scikit_learn(kind):
  told = multi_label.top(SCORES, 3) if kind else multi_label.said(SCORES, 0.5)
  found = multi_label.measure(SCORES, TRUTHS)
  for average, start in (("macro", "c"), ("micro", "o")):
    p, r, f, _ = SKLEARN.precision_recall_fscore_support(
      TRUTHS, told, average=average, zero_division=0
    )
    assert found[f"{start}p{kind}"] == pytest.approx(p)
    assert found[f"{start}r{kind}"] == pytest.approx(r)
    if average == "micro":
      assert found[f"of1{kind}"] == pytest.approx(f)
    else:
      assert found[f"cf1{kind}"] == pytest.approx(2 * p * r / (p + r))


def test_unknown_truths_count_nowhere():
  truths = TRUTHS.copy()
  truths[40:, 2] = -1
  found = multi_label.average_precisions(SCORES, truths)
  expected = SKLEARN.average_precision_score(TRUTHS[:40, 2], SCORES[:40, 2])
  assert found[2] == pytest.approx(expected)
  told = multi_label.said(SCORES, 0.5)
  flipped = told.copy()
  flipped[40:, 2] = ~flipped[40:, 2]
  assert multi_label.agreement(told, truths) == multi_label.agreement(
    flipped, truths
  )


def test_labels_that_no_image_has_are_left_out_of_map():
  truths = TRUTHS.copy()
  truths[:, 0] = 0
  each = multi_label.average_precisions(SCORES, truths)
  assert np.isnan(each[0])
  assert multi_label.mean_average_precision(SCORES, truths) == pytest.approx(
    each[1:].mean()
  )
  assert np.isnan(multi_label.mean_average_precision(SCORES, truths * 0))
  nothing = multi_label.agreement(np.zeros((60, 5), bool), truths * 0)
  assert set(nothing.values()) == {0.0}


def test_points_hit_the_boxes_of_their_own_label():
  boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]])
  points = np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.75]])
  axis = (np.arange(4) + 0.5) / 4
  grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
  found = multi_label.pointing(points, grid, boxes, np.array([0, 1]), [0, 1, 2])
  assert found == [(True, 0.25), (False, 0.25)]
