import re

import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.explain.evidence import Histogram
from protojax.report import plots


def _heights(outline):
  """Shares of the height, read back from a path."""
  tops = [float(y) for y in re.findall(r"V([\d.]+)H", outline)]
  return 1 - np.array(tops) / plots.HEIGHT


def _axis(drawn):
  """Where 0 is, and the pixels of a unit."""
  (a, x), (b, y) = (
    (at, float(label.replace("−", "-"))) for at, label in drawn.ticks[:2]
  )
  scale = (b - a) / (y - x)
  return a - x * scale, scale


def test_outlines_are_histograms():
  rng = np.random.default_rng(0)
  train, test = rng.normal(0.3, 0.2, 300), rng.normal(0.2, 0.3, 200)
  drawn = plots.of_scores({"train": train, "test": test})
  zero, scale = _axis(drawn)
  heights = {split: _heights(path) for split, path in drawn.outlines.items()}
  edges = np.linspace(0, plots.WIDTH, len(heights["train"]) + 1)
  shares = {
    name: np.histogram(zero + scale * scores, edges)[0] / len(scores)
    for name, scores in (("train", train), ("test", test))
  }
  most = max(share.max() for share in shares.values())
  for split in ("train", "test"):
    assert_allclose(heights[split], shares[split] / most, atol=0.08)
  assert drawn.description.startswith(f"train: mean {train.mean():.2f}, ")


def test_counted_scores_are_drawn_as_the_scores_themselves():
  scores = np.random.default_rng(1).normal(0.1, 0.2, 4000)
  edges = np.linspace(-9, 9, 20001)
  counted = Histogram(edges, np.histogram(scores, edges)[0])
  fine = plots.of_counts({"test": counted})
  plain = plots.of_scores({"test": scores})
  assert fine.description == plain.description
  assert_allclose(
    _heights(fine.outlines["test"]), _heights(plain.outlines["test"]), atol=0.1
  )


def test_one_score_far_out_does_not_squeeze_the_others():
  scores = np.append(np.linspace(0, 1, 4000), 500.0)
  drawn = plots.of_scores({"test": scores})
  assert (_heights(drawn.outlines["test"]) > 0.5).mean() > 0.8


def test_unknown_scores_are_left_out():
  assert plots.of_scores({"test": np.array([np.nan])}) is None
  assert plots.of_scores({}) is None
  drawn = plots.of_scores({"test": np.array([np.nan, 0.5])})
  assert drawn.description == "test: mean 0.50, 0% below zero"
  nothing = plots.scatter(
    np.arange(2), np.array([np.nan, 1]), np.array([1, np.nan])
  )
  assert nothing is None


def test_points_lie_at_their_scores():
  rng = np.random.default_rng(2)
  first, second = rng.normal(size=(2, 9))
  second[4] = np.nan
  drawn = plots.scatter(np.arange(9) + 100, first, second)
  zero, scale = _axis(drawn)
  assert [p.x for p in drawn.points] == sorted(p.x for p in drawn.points)
  assert {p.prototype for p in drawn.points} == set(range(100, 109)) - {104}
  for p in drawn.points:
    n = p.prototype - 100
    assert_allclose((p.x - zero) / scale, first[n], atol=0.01)
    assert_allclose((plots.WIDTH - p.y - zero) / scale, second[n], atol=0.01)
    assert p.description == f"{first[n]:.2f}, {second[n]:.2f}".replace("-", "−")
  above = (second > first).sum()
  assert drawn.description == f"{above} of 8 prototypes lie above the line"


@pytest.mark.parametrize(
  ("low", "high", "wanted"),
  [
    (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    (-0.13, 0.42, [-0.1, 0, 0.1, 0.2, 0.3, 0.4]),
    (3.0, 17.0, [4, 6, 8, 10, 12, 14, 16]),
  ],
)
def test_ticks_are_round(low, high, wanted):
  assert plots.ticks(low, high) == wanted
