"""What is unusual for a prototype among those of its model."""

import dataclasses
import math

import numpy as np
import pytest

from protojax.explain import standings
from protojax.explain.evidence import GlobalScores, Interval
from protojax.report import sentences
from tests.report import report_fakes

NAMES = ("contrast", "hue", "shape")


def _prototypes(scores, width=0.0):
  """Prototypes with these scores [p 3], and intervals of one width."""
  bare = report_fakes.prototype(0, "rose", np.random.default_rng(0), False)
  found = []
  for j, row in enumerate(scores):
    own = dict(zip(NAMES, map(float, row), strict=True))
    intervals = {n: Interval(s - width, s + width) for n, s in own.items()}
    because = GlobalScores(own, 1.0, 9, intervals)
    found.append(
      dataclasses.replace(bare, prototype=j, because={"test": because})
    )
  return found


def _ramps():
  """Shape costs most for all; hue rises, contrast falls with the number."""
  up = np.linspace(0.1, 0.2, 41)
  return np.stack([up[::-1], up, np.full(41, 0.9)], axis=1)


def test_percentiles_are_those_among_the_others():
  found = standings.mark(_prototypes(_ramps()))
  for j, e in enumerate(found):
    assert e.standings["hue"].percentile == pytest.approx(100 * j / 40)
    assert e.standings["contrast"].percentile == pytest.approx(100 - 2.5 * j)
    # Equal scores are not below each other.
    assert e.standings["shape"] == (0, 0, 0)
    assert e.usual == "shape"
  named = [e.stands_out for e in found]
  assert named[:9] == ["contrast"] * 9
  assert named[9:32] == [""] * 23
  assert named[32:] == ["hue"] * 9


def test_a_wide_interval_lets_nothing_stand_out():
  scores = _ramps()
  # A step of a score is 0.0025: a percentile of 2.5.
  narrow = standings.mark(_prototypes(scores, 0.00625))
  assert narrow[-1].standings["hue"] == pytest.approx((100, 95, 100))
  assert [e.stands_out for e in narrow].count("hue") == 7
  wide = standings.mark(_prototypes(scores, 0.5))
  assert not any(e.stands_out for e in wide)
  assert sentences.standing_out(wide[0]).startswith("Nothing stands out")


def test_few_prototypes_have_no_percentiles():
  few = _prototypes(_ramps()[:19])
  assert standings.mark(few) == tuple(few)


def test_pruned_and_silent_prototypes_do_not_count():
  made = _prototypes(_ramps())
  made[3] = dataclasses.replace(made[3], alive=False)
  silent = GlobalScores(dict.fromkeys(NAMES, math.nan), math.nan, 9)
  made[4] = dataclasses.replace(made[4], because={"test": silent})
  found = standings.mark(made)
  assert not found[3].standings
  assert not found[4].standings
  assert found[5].standings["hue"].percentile == pytest.approx(100 * 3 / 38)


def test_both_sentences():
  found = standings.mark(_prototypes(_ramps(), 0.00625))
  assert sentences.global_sentence(found[40], "test") == (
    "Over the test images, the similarity to prototype 40 is 1.00 on average."
    " As for most prototypes here, shape costs most of it (0.90). What stands"
    " out is hue: it costs more than for 100 % of the prototypes (95 to 100 %"
    " with other images of the kind)."
  )
  scores = _ramps()
  scores[7] = 0.3, 0.15, 0.1
  found = standings.mark(_prototypes(scores))
  assert "Contrast costs most of it (0.30); for most it is shape." in (
    sentences.global_sentence(found[7], "test")
  )
