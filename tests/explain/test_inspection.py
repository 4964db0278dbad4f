"""Properties of inspections, of one and of many."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from protojax.explain import inspection
from protojax.types import Box
from tests.report import inspection_fakes as fakes


@pytest.mark.parametrize(
  ("score", "kind", "defective", "wrong"),
  [
    (0.26, "hole", True, False),
    (0.26, "normal", True, True),
    (0.24, "hole", False, True),
    (0.24, "normal", False, False),
    (0.26, None, True, False),
    # The threshold itself is still normal.
    (0.25, None, False, False),
  ],
)
def test_the_verdict(score, kind, defective, wrong):
  e = fakes.inspection(score, kind)
  assert (e.defective, e.wrong) == (defective, wrong)
  assert e.excess == pytest.approx(score - 0.25)


def test_no_score_is_no_verdict_of_normal():
  e = fakes.inspection(float("nan"), "normal", index=9)
  assert e.defective
  assert inspection.worst_first([fakes.inspection(0.9), e])[0] is e


def test_shares_are_of_the_worst_place():
  shares = fakes.inspection().shares
  assert shares["contrast"] == pytest.approx(0.62)
  assert shares["hue"] == pytest.approx(-0.08)
  assert shares["identity"] == 0
  assert fakes.inspection(worst_value=0.0).shares == {}


def test_whether_the_box_met_the_defect():
  truth = np.zeros((64, 64), bool)
  e = fakes.inspection(worst=Box(8, 32, 24, 64), truth=truth)
  assert e.met is None
  truth[24, 32] = True
  assert e.met is False
  truth[23, 63] = True
  assert e.met is True
  assert dataclasses.replace(e, worst=None).met is None
  assert dataclasses.replace(e, truth=None).met is None


def test_a_tally_of_all():
  rng = np.random.default_rng(0)
  scores = rng.uniform(0, 0.5, 60)
  kinds = rng.choice(["normal", "hole", "crack"], 60)
  found = inspection.tally(map(fakes.inspection, scores.tolist(), kinds))
  odd, normal = kinds != "normal", kinds == "normal"
  assert found == inspection.Tally(
    images=60,
    found=int((scores > 0.25).sum()),
    normal=int(normal.sum()),
    defective=int(odd.sum()),
    false_alarms=int((normal & (scores > 0.25)).sum()),
    missed=int((odd & (scores <= 0.25)).sum()),
    auroc=pytest.approx(roc_auc_score(odd, scores)),
  )


def test_what_is_not_known_is_not_counted():
  found = inspection.tally([fakes.inspection(0.3, None)])
  assert found[:6] == (1, 1, 0, 0, 0, 0)
  assert math.isnan(found.auroc)
  assert inspection.tally([]).images == 0


def test_groups_have_normal_first():
  kinds = ["hole", None, "crack", "normal", "hole"]
  some = [fakes.inspection(kind=kind) for kind in kinds]
  groups = inspection.grouped(some, "kind")
  assert list(groups) == ["normal", "crack", "hole"]
  assert [len(group) for group in groups.values()] == [1, 1, 2]
  assert inspection.grouped(some, "category") == {}


def test_the_worst_come_first():
  strict = fakes.THRESHOLD._replace(value=0.1)
  some = [
    fakes.inspection(0.3, index=5),
    fakes.inspection(0.4, index=1),
    fakes.inspection(0.3, index=2),
    # The excess over the own threshold counts, not the score.
    fakes.inspection(0.28, threshold=strict, index=0),
  ]
  order = [e.index for e in inspection.worst_first(some)]
  assert order == [0, 1, 2, 5]


def test_the_worst_and_the_mistakes_are_shown():
  rng = np.random.default_rng(1)
  some = [
    fakes.inspection(score, kind, index=i)
    for i, (score, kind) in enumerate(
      zip(
        rng.uniform(0, 0.5, 400).tolist(),
        rng.choice(["normal", "hole", None], 400).tolist(),
        strict=True,
      )
    )
  ]
  shown = inspection.to_show(some)
  ordered = inspection.worst_first(some)
  found = [e for e in ordered if e.defective]
  passed = [e for e in ordered if not e.defective]
  groups = (
    found[:20],
    passed[:20],
    [e for e in found if e.wrong][:20],
    [e for e in passed if e.wrong][-20:],
  )
  assert shown == {e.index for group in groups for e in group}
  # An inspection that is not shown among the first ones is never shown.
  early = inspection.to_show(some[:150])
  assert {i for i in shown if i < 150} <= early


def test_means_are_over_what_was_found_defective():
  some = [
    fakes.inspection(0.3, because={"hue": 0.1, "shape": 0.3}, worst_value=0.5),
    fakes.inspection(0.3, because={"hue": 0.3, "shape": 0.1}, worst_value=1.0),
    fakes.inspection(0.2, because={"hue": 9.0, "shape": 9.0}, worst_value=1.0),
  ]
  found = inspection.mean_because(some)
  assert found == pytest.approx({"hue": 0.2, "shape": 0.2})
  shares = inspection.mean_because(some, shares=True)
  assert shares == pytest.approx({"hue": 0.25, "shape": 0.35})
  assert inspection.mean_because(some[2:]) == {}


def test_a_picture_has_the_shape_of_what_it_shows():
  original = inspection.Original((60, 90), Box(0, 0, 60, 90))
  assert fakes.inspection().ratio == 1
  assert fakes.inspection(original=original).ratio == 1.5
