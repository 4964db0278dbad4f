"""Scores over all classes and over those present, against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from protojax.metrics import present_classes
from protojax.types import UserError

NAMES = tuple("abcdefgh")


def drawn(present):
  rng = np.random.default_rng(0)
  labels = rng.choice(present, 200)
  answers = np.where(rng.random(200) < 0.6, labels, rng.integers(0, 8, 200))
  return labels, answers


@pytest.mark.parametrize("present", [range(8), (0, 2, 3, 5, 6, 7)])
def test_both_families_are_scikit_learns(present):
  labels, answers = drawn(list(present))
  counts = present_classes.confusion(labels, answers, 8)
  found = present_classes.scores(counts, NAMES)
  for family, over in (("8way", range(8)), ("present_only", present)):
    f1 = sklearn.f1_score(
      labels, answers, labels=list(over), average="macro", zero_division=0
    )
    recall = sklearn.recall_score(
      labels, answers, labels=list(over), average="macro", zero_division=0
    )
    assert found[family]["macro_f1"] == pytest.approx(f1)
    assert found[family]["bacc"] == pytest.approx(recall)
    assert found[family]["acc"] == pytest.approx((labels == answers).mean())
  assert found["present_only"]["present_idx"] == list(present)
  assert found["present_only"]["present_names"] == [NAMES[k] for k in present]
  if len(present) == 8:
    assert found["8way"]["macro_f1"] == found["present_only"]["macro_f1"]
    assert found["8way"]["bacc"] == found["present_only"]["bacc"]


def test_unknown_labels_are_left_out_and_none_is_refused():
  labels, answers = np.array([0, -1, 1]), np.array([0, 1, 0])
  counts = present_classes.confusion(labels, answers, 2)
  np.testing.assert_array_equal(counts, [[1, 0], [1, 0]])
  with pytest.raises(UserError, match="no image has a label"):
    present_classes.scores(np.zeros((2, 2), int), NAMES)
