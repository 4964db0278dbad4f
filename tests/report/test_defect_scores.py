"""The histogram of scores: all are counted, and the threshold is an edge."""

import re

import numpy as np
import pytest

from protojax.report import defect_scores
from tests.report import inspection_fakes as fakes


def _some(scores, kinds):
  return [
    fakes.inspection(s, k)
    for s, k in zip(np.asarray(scores).tolist(), kinds, strict=True)
  ]


def _bars(row):
  """Left end and height of each bar, in percent."""
  found = re.findall(r"M([\d.]+) \d+v-?([\d.]+)h", row.path)
  return np.array(found, float).reshape(-1, 2)


def test_the_threshold_parts_the_bars():
  rng = np.random.default_rng(0)
  scores = np.append(rng.uniform(0.1, 0.9, 300), fakes.THRESHOLD.value)
  kinds = [*rng.choice(["normal", "hole"], 300), "normal"]
  drawing = defect_scores.draw(_some(scores, kinds))
  assert [row.name for row in drawing.rows] == ["normal", "defective"]
  odd = np.array(kinds) == "hole"
  for row, chosen in zip(drawing.rows, (~odd, odd), strict=True):
    left, height = _bars(row).T
    counts = np.rint(height * drawing.most / 100)
    assert counts.sum() == chosen.sum()
    # A score that equals the threshold is not above it.
    above = counts[left > drawing.threshold - 0.1].sum()
    assert above == (scores[chosen] > fakes.THRESHOLD.value).sum()
    assert f"{int(above)} above the threshold" in row.description
  assert "v-" in drawing.rows[0].path
  assert "v-" not in drawing.rows[1].path
  assert drawing.label == "threshold 0.250"


def test_ticks_are_round_and_in_their_places():
  scores = [0.2, 0.8]
  drawing = defect_scores.draw(_some(scores, ["normal", "hole"]))
  labels = [float(label) for _, label in drawing.ticks]
  assert labels == pytest.approx(np.arange(2, 9) / 10)
  at = [at for at, _ in drawing.ticks]
  slope = np.diff(at) / np.diff(labels)
  assert np.ptp(slope) < 1e-6
  place = np.interp(0.25, labels, at)
  assert drawing.threshold == pytest.approx(place)
  assert all(0 <= x <= 100 for x in at)


def test_several_thresholds_are_laid_on_each_other():
  other = fakes.THRESHOLD._replace(value=10.0)
  some = [
    fakes.inspection(0.3, None),
    fakes.inspection(10.1, None, threshold=other),
    fakes.inspection(9.9, None, threshold=other),
  ]
  drawing = defect_scores.draw(some)
  assert [row.name for row in drawing.rows] == ["unlabelled"]
  assert drawing.axis == "score above the threshold"
  assert (0.0, "0") in [
    (round(a - drawing.threshold, 6), b) for a, b in drawing.ticks
  ]
  assert "3 unlabelled images" in drawing.rows[0].description
  assert "2 above the threshold" in drawing.rows[0].description
  assert any(label.startswith("−") for _, label in drawing.ticks)


def test_little_to_draw():
  assert defect_scores.draw([]) is None
  assert defect_scores.draw([fakes.inspection(float("nan"))]) is None
  same = defect_scores.draw([fakes.inspection(0.25, "normal")])
  assert len(_bars(same.rows[0])) == 1
  mixed = [fakes.inspection(float("inf")), fakes.inspection(0.3)]
  assert "1 defective image:" in defect_scores.draw(mixed).rows[0].description
