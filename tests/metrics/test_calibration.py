"""Calibration and outliers against loops and scikit-learn."""

import jax
import numpy as np
from numpy.testing import assert_allclose
import pytest
from sklearn.metrics import roc_auc_score

from protojax.metrics import calibration

calibration_error = jax.jit(
  calibration.calibration_error, static_argnames="bins"
)


def _expected(probabilities, labels, bins):
  """Guo et al., 2017: bins ((m - 1) / M, m / M] of the confidence."""
  rows = [
    (max(row), int(np.argmax(row)) == label)
    for row, label in zip(probabilities, labels, strict=True)
    if label >= 0
  ]
  error = 0.0
  for m in range(1, bins + 1):
    found = [(c, right) for c, right in rows if (m - 1) / bins < c <= m / bins]
    if found:
      confidence = sum(c for c, _ in found) / len(found)
      accuracy = sum(right for _, right in found) / len(found)
      error += len(found) / len(rows) * abs(accuracy - confidence)
  return error


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_equals_the_loop(bins):
  generator = np.random.default_rng(0)
  probabilities = generator.dirichlet(np.ones(4), 200).astype(np.float32)
  labels = generator.integers(-1, 4, 200)
  found = calibration_error(probabilities, labels, bins=bins)
  assert_allclose(found, _expected(probabilities, labels, bins), rtol=1e-5)


def test_calibration_by_hand():
  sure = np.array([[1.0, 0.0]] * 4, np.float32)
  # Four times sure, three times right.
  found = calibration_error(sure, np.array([0, 0, 0, 1]))
  assert_allclose(found, 0.25, rtol=1e-6)
  unknown = calibration_error(sure, np.full(4, -1))
  assert np.isnan(unknown)


def test_outliers_equal_scikit_learn():
  generator = np.random.default_rng(0)
  inside, outside = generator.normal(1, 1, 50), generator.normal(0, 1, 70)
  labels = np.r_[np.ones(50), np.zeros(70)]
  wanted = roc_auc_score(labels, np.r_[inside, outside])
  assert_allclose(calibration.outlier_auroc(inside, outside), wanted)
  assert np.isnan(calibration.outlier_auroc(inside, outside[:0]))


def test_abstention_keeps_what_it_must():
  generator = np.random.default_rng(0)
  for count in (19, 20, 100, 101):
    inside, outside = generator.normal(1, 1, count), generator.normal(0, 1, 70)
    thresholds = [t for t in inside if np.mean(inside >= t) >= 0.95]
    wanted = np.mean(outside < max(thresholds))
    assert_allclose(calibration.abstention(inside, outside), wanted)
  assert np.isnan(calibration.abstention(inside, outside[:0]))
