"""Evidence of every class as blocks: nothing of it is lost or made up."""

import dataclasses

import numpy as np
import pytest

from protojax.explain import evidence_blocks
from protojax.explain.blocks import Curve, Gallery, Map, Picture, Table
from tests.report import inspection_fakes
from tests.report import report_fakes as fakes


@pytest.fixture(scope="module")
def run():
  return fakes.run(classes=1)


def _one(found, kind, caption=""):
  (block,) = (
    b for b in found.blocks if isinstance(b, kind) and b.caption == caption
  )
  return block


def test_an_image(run):
  _, images, _ = run
  e = images[1]
  found = evidence_blocks.of(e)
  assert (found.key, found.scope) == ("image-test-1", "local")
  assert (found.split, found.subject, found.group) == (
    e.split,
    e.image,
    e.label,
  )
  np.testing.assert_array_equal(_one(found, Picture, e.image).image, e.picture)
  assert _one(found, Table, "answers").rows[0][:2] == ("another", 2.5)
  rows = _one(found, Table, "evidence")
  for row, own in zip(rows.rows, e.evidence, strict=True):
    told = dict(zip(rows.columns, row, strict=True))
    assert told["points"] == own.points
    assert {name: told[name] for name in own.because} == own.because
  heat = _one(found, Gallery, "heat")
  assert [p.boxes[0].box for p in heat.pictures] == [
    row.box for row in e.evidence
  ]


def test_a_prototype(run):
  prototypes, _, _ = run
  e = prototypes[fakes.DUPLICATE]
  found = evidence_blocks.of(e)
  assert found.key == f"prototype-{e.prototype}-train-test"
  assert (found.scope, found.group) == ("global", e.group)
  facts = dict(_one(found, Table, "prototype").rows)
  assert facts["duplicate_of"] == e.duplicate_of
  assert facts["alive"] is True
  for split, b in e.because.items():
    rows = _one(found, Table, f"because {split}").rows
    assert {row[0]: row[1] for row in rows} == b.scores
    assert rows[1][2:4] == tuple(b.intervals[rows[1][0]])
    assert len(_one(found, Gallery, f"nearest {split}").pictures) == 3
  patch = _one(found, Gallery, "patch").pictures[0]
  assert [frame.box for frame in patch.boxes] == [e.patch.box, e.patch.field]


def test_a_split(run):
  _, _, overviews = run
  e = dataclasses.replace(overviews["test"], alerts=("Odd.",))
  found = evidence_blocks.of(e)
  assert (found.key, found.scope) == ("overview-test", "overview")
  assert found.blocks[0].text == "Odd."
  curve = _one(found, Curve, "local test")
  for line, histogram in zip(curve.series, e.local.values(), strict=True):
    assert line.y.sum() == histogram.counts.sum()
    assert len(line.y) == 50
    mean = (line.x * line.y).sum() / line.y.sum()
    middles = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    assert mean == pytest.approx(
      (middles * histogram.counts).sum() / histogram.counts.sum(), abs=0.04
    )


def test_an_inspection():
  (e,) = inspection_fakes.inspections(1)
  found = evidence_blocks.of(e)
  assert (found.scope, found.group) == ("local", e.category)
  shown = _one(found, Map, "anomaly_map")
  np.testing.assert_array_equal(shown.values, e.anomaly_map)
  assert (shown.low, shown.high) == (0.0, 2 * e.threshold.value)
  assert _one(found, Picture, e.image).boxes[0].box == e.worst
  assert dict(_one(found, Table, "inspection").rows)["score"] == e.score
  assert dict(_one(found, Table, "because").rows) == e.because


def test_what_is_not_there_is_left_out(run):
  _, images, _ = run
  rows = tuple(
    dataclasses.replace(r, heat=None, box=None) for r in images[0].evidence
  )
  bare = dataclasses.replace(images[0], picture=None, evidence=rows, label=None)
  kinds = {type(b) for b in evidence_blocks.of(bare).blocks}
  assert kinds == {Table}
  bare = inspection_fakes.inspection()
  assert {type(b) for b in evidence_blocks.of(bare).blocks} == {Table}
  with pytest.raises(TypeError, match="str is none of LocalExplanation"):
    evidence_blocks.of("text")
