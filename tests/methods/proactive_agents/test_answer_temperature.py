"""The temperature of answers, and how far P(yes) is from the truth."""

import numpy as np
import pytest

from protojax.methods.proactive_agents import calibrating, judging


def test_of_one_logit_it_is_known():
  """All logits are a or -a, and 9 of 10 are right: 1 / T is log(9) / a."""
  yes = np.arange(1000) % 2 == 0
  logits = np.where(yes, 5.0, -5.0)
  logits[:100] *= -1
  found = calibrating.temperature(logits, yes)
  assert found == pytest.approx(5.0 / np.log(9), rel=1e-6)
  p = calibrating.probability(logits, found)
  assert judging.calibration_error(p, yes) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_it_finds_what_logits_were_multiplied_by(factor):
  rng = np.random.default_rng(0)
  logits = 2 * rng.normal(size=40_000)
  yes = rng.random(40_000) < calibrating.probability(logits, 1.0)
  found = calibrating.temperature(factor * logits, yes)
  assert found == pytest.approx(factor, rel=0.03)


def test_it_is_the_likeliest():
  rng = np.random.default_rng(1)
  logits, yes = rng.normal(size=400), rng.random(400) < 0.5
  yes |= logits > 1

  def lost(t):
    p = calibrating.probability(logits, t)
    return -np.log(np.where(yes, p, 1 - p)).sum()

  best = calibrating.temperature(logits, yes)
  assert lost(best) < min(lost(0.99 * best), lost(1.01 * best))


def test_its_ends():
  """Answers that are all right want no doubt, and all wrong ones all of it."""
  yes = np.array([True, False])
  logits = np.array([1.0, -1.0])
  assert calibrating.temperature(logits, yes) == pytest.approx(0.01, rel=1e-6)
  assert calibrating.temperature(-logits, yes) == pytest.approx(100, rel=1e-6)
  assert calibrating.temperature(0 * logits, yes) == 1
  assert calibrating.temperature(np.zeros(0), np.zeros(0, bool)) == 1


def test_the_error_is_that_of_bins():
  p = np.array([0.05, 0.05, 0.95, 0.95])
  yes = np.array([False, True, True, True])
  assert judging.calibration_error(p, yes) == pytest.approx(
    0.5 * 0.45 + 0.5 * 0.05
  )
  counts, said, true = judging.reliability(p, yes, bins=2)
  np.testing.assert_allclose(counts, [2, 2])
  np.testing.assert_allclose(said, [0.05, 0.95])
  np.testing.assert_allclose(true, [0.5, 1.0])


def test_figures_of_answers():
  cells = np.array([[0, 1, 10, 15]])  # Whether things are there, and colours.
  yes = np.array([[True, False, True, False]])
  logits = np.array([[2.0, -1.0, 0.5, 0.7]])
  found = judging.measured(judging.Answered(cells, yes, logits), 2.0)
  assert found["auc"] == 0.75
  assert (found["auc_there"], found["auc_attribute"]) == (1, 0)
  assert "auc_position" not in found
  p = calibrating.probability(logits / 2, 1.0)
  right = np.where(yes, p, 1 - p)
  assert found["log_loss"] == pytest.approx(-np.log(right).mean())
