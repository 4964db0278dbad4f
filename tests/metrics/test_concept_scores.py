import numpy as np
from numpy.testing import assert_allclose
from sklearn import metrics as oracle

from protojax.data.places import Places
from protojax.metrics import concept_scores as concepts
from tests.conftest import ArraySource


def test_f1_and_auc_equal_scikit_learn():
  rng = np.random.default_rng(0)
  labels, answers = rng.integers(0, 4, (2, 60))
  assert_allclose(
    concepts.macro_f1(labels, answers),
    oracle.f1_score(labels, answers, average="macro"),
  )
  present, logits = rng.random((60, 3)) < 0.4, rng.normal(size=(60, 3))
  assert_allclose(
    concepts.concept_f1(present, logits),
    oracle.f1_score(present, logits > 0, average="macro"),
  )
  assert_allclose(
    concepts.concept_auc(present, logits),
    oracle.roc_auc_score(present, logits, average="macro"),
  )


def test_what_is_not_defined_is_left_out():
  present = np.array([[1, 1], [0, 1], [0, 1]], bool)
  logits = np.array([[1, 1], [-1, 1], [-1, 1]], np.float32)
  # Every image shows the second concept: it has no AUROC.
  assert concepts.concept_auc(present, logits) == 1
  assert np.isnan(concepts.concept_auc(present[:, 1:], logits[:, 1:]))
  # A class that only answers name is none of the labels'.
  assert concepts.macro_f1(np.array([0, 0, 1]), np.array([0, 0, 2])) == 0.5


class Drawn(ArraySource):
  """Two images, a concept in the left upper quarter, one at the right edge."""

  concept_names = ("quarter", "edge")
  concepts = np.array([[1, 1], [1, 0]], bool)

  def places(self, i):
    boxes = np.array([[0, 0, 0.5, 0.5], [0, 0.75, 1, 1]])
    shown = self.concepts[i]
    return Places(np.flatnonzero(shown), boxes[shown])


def test_pointing_on_maps_made_by_hand():
  grid = (2, 4)
  hit, missed = [0, 3], [5, 2]
  assert concepts.pointing(Drawn(2), np.array([hit, hit]), grid) == 1
  assert concepts.pointing(Drawn(2), np.array([missed, missed]), grid) == 0
  # Cell 1 is still in the quarter; the second image has no edge to hit.
  assert_allclose(
    concepts.pointing(Drawn(2), np.array([[1, 2], [4, 3]]), grid), 1 / 3
  )
