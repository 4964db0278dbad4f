"""AUROC, AP and F1-max against scikit-learn, and what they mean by hand."""

import numpy as np
import pytest
from sklearn import metrics

from protojax.metrics import ranking

FORMS = (ranking.auroc, ranking.average_precision, ranking.f1_max)


def f1_max(labels, scores):
  precision, recall, _ = metrics.precision_recall_curve(labels, scores)
  found = precision + recall > 0
  return np.max((2 * precision * recall)[found] / (precision + recall)[found])


ORACLES = (metrics.roc_auc_score, metrics.average_precision_score, f1_max)


def draw(seed, levels):
  """Labels and scores, of so many distinct values (0: all distinct)."""
  generator = np.random.default_rng(seed)
  count = generator.integers(5, 300)
  labels = generator.random(count) < generator.uniform(0.05, 0.9)
  labels[:2] = False, True
  scores = generator.normal(labels * generator.uniform(-1, 2))
  if levels:
    scores = np.round(scores * levels / 4)
  return labels, scores


@pytest.mark.parametrize("levels", [0, 1, 2, 5, 40])
def test_exact_forms_equal_scikit_learn(levels):
  for seed in range(40):
    labels, scores = draw(seed, levels)
    ours = [form(labels, scores) for form in FORMS]
    theirs = [oracle(labels, scores) for oracle in ORACLES]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_float32_scores_and_kinds_of_defects_as_labels():
  labels, scores = draw(0, 0)
  kinds = labels * np.arange(1, len(labels) + 1, dtype=np.int32)
  for form in FORMS:
    assert form(kinds, scores.astype(np.float32)) == form(labels, scores)


def test_by_hand():
  labels = np.array([False, True, False, True])
  scores = np.array([1.0, 2.0, 2.0, 3.0])
  # Of four pairs three are in order and one is a tie.
  assert ranking.auroc(labels, scores) == 3.5 / 4
  # Recall 1/2 at precision 1, then 1 at precision 2/3.
  assert ranking.average_precision(labels, scores) == pytest.approx(5 / 6)
  assert ranking.f1_max(labels, scores) == pytest.approx(4 / 5)


def test_only_the_order_matters_to_auroc():
  labels, scores = draw(3, 0)
  value = ranking.auroc(labels, scores)
  assert ranking.auroc(labels, np.exp(3 * scores)) == value
  assert ranking.auroc(~labels, -scores) == pytest.approx(value)
  assert ranking.auroc(labels, -scores) == pytest.approx(1 - value)


@pytest.mark.parametrize("form", FORMS)
def test_undefined_is_nan(form):
  scores = np.array([0.1, 0.2, 0.3])
  assert np.isnan(form(np.zeros(3, bool), scores))
  assert np.isnan(form(np.ones(3, bool), scores))
  assert np.isnan(form(np.zeros(0, bool), np.zeros(0)))
  some = np.array([False, True, True])
  assert np.isnan(form(some, np.array([0.1, np.nan, 0.3])))


def test_empty_bins_change_nothing():
  labels, scores = draw(1, 5)
  tallied = ranking.tally(labels, scores)
  spread = [np.zeros(3 * len(part) + 2) for part in tallied]
  for wide, part in zip(spread, tallied, strict=True):
    wide[1:-1:3] = part
  assert ranking.summary(*spread) == pytest.approx(ranking.summary(*tallied))
