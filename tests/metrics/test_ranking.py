"""AUROC, AP and F1-max against scikit-learn, and what they mean by hand."""

import numpy as np
import pytest
from sklearn import metrics

from protojax.metrics import ranking
from tests.metrics.oracles import f1_max

ORACLES = {
  "auroc": metrics.roc_auc_score,
  "ap": metrics.average_precision_score,
  "f1_max": f1_max,
}


def exact(labels, scores):
  """AUROC, AP and F1-max of a list of scores, by name."""
  return ranking.summary(*ranking.tally(labels, scores))


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
    theirs = {name: oracle(labels, scores) for name, oracle in ORACLES.items()}
    found = exact(labels, scores)
    assert found == pytest.approx(theirs, rel=0, abs=1e-12)
    assert ranking.auroc(labels, scores) == found["auroc"]


def test_float32_scores_and_kinds_of_defects_as_labels():
  labels, scores = draw(0, 0)
  kinds = labels * np.arange(1, len(labels) + 1, dtype=np.int32)
  assert exact(kinds, scores.astype(np.float32)) == exact(labels, scores)


def test_by_hand():
  labels = np.array([False, True, False, True])
  scores = np.array([1.0, 2.0, 2.0, 3.0])
  # Of four pairs three are in order and one is a tie.
  assert ranking.auroc(labels, scores) == 3.5 / 4
  # Recall 1/2 at precision 1, then 1 at precision 2/3.
  assert exact(labels, scores)["ap"] == pytest.approx(5 / 6)
  assert exact(labels, scores)["f1_max"] == pytest.approx(4 / 5)


def test_only_the_order_matters_to_auroc():
  labels, scores = draw(3, 0)
  value = ranking.auroc(labels, scores)
  assert ranking.auroc(labels, np.exp(3 * scores)) == value
  assert ranking.auroc(~labels, -scores) == pytest.approx(value)
  assert ranking.auroc(labels, -scores) == pytest.approx(1 - value)


@pytest.mark.parametrize("name", ORACLES)
def test_undefined_is_nan(name):
  scores = np.array([0.1, 0.2, 0.3])
  assert np.isnan(exact(np.zeros(3, bool), scores)[name])
  assert np.isnan(exact(np.ones(3, bool), scores)[name])
  assert np.isnan(exact(np.zeros(0, bool), np.zeros(0))[name])
  some = np.array([False, True, True])
  assert np.isnan(exact(some, np.array([0.1, np.nan, 0.3]))[name])


def test_empty_bins_change_nothing():
  labels, scores = draw(1, 5)
  tallied = ranking.tally(labels, scores)
  spread = [np.zeros(3 * len(part) + 2) for part in tallied]
  for wide, part in zip(spread, tallied, strict=True):
    wide[1:-1:3] = part
  assert ranking.summary(*spread) == pytest.approx(ranking.summary(*tallied))
