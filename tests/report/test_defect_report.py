"""The folder of inspections: tables, maps, summary and report."""

import dataclasses
import io
import json

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pandas
import pytest

from protojax.console import Console
from protojax.explain import documents, inspection
from protojax.modify.modification import Modification
from protojax.modify.presets import REFERENCE
from protojax.report.defect_report import Report
from protojax.types import Box, UserError
from tests.report import inspection_fakes as fakes
from tests.report.page_reader import Page

_ALWAYS = {"inspections.csv", "report.html", "report.txt", "summary.json"}


def _write(folder, inspections, **options):
  with Report(folder, folder.parent, **options) as report:
    for e in inspections:
      report.seen(e.split, 1)
      report.add(e)
    report.finish()
  return report


@pytest.fixture(scope="module")
def some():
  return fakes.inspections(8)


def test_the_table(some, tmp_path):
  _write(tmp_path / "found", some, preset=REFERENCE)
  table = pandas.read_csv(tmp_path / "found" / "inspections.csv")
  assert list(table.columns) == [
    *("image", "split", "category", "kind", "score", "threshold"),
    *("defective", "worst_box", "original_box", "seen_box", "hidden"),
    "worst_value",
    *REFERENCE.names,
  ]
  assert list(table.image) == [e.image for e in some]
  assert_allclose(table.score, [e.score for e in some], rtol=1e-7)
  assert_array_equal(table.defective == 1, table.score > table.threshold)
  assert list(table.kind) == [e.kind for e in some]
  box = tuple(map(int, table.worst_box[2].split()))
  assert box == some[2].worst
  assert_allclose(table.contrast / table.worst_value, 0.62)


def test_what_is_not_known_is_left_empty(tmp_path):
  plain = fakes.inspection(kind=None, worst=None, because={"hue": 0.125})
  _write(tmp_path / "found", [plain])
  table = pandas.read_csv(tmp_path / "found" / "inspections.csv")
  (row,) = table.itertuples()
  assert pandas.isna([row.kind, row.worst_box, row.contrast]).all()
  assert row.hue == 0.125


def test_places_in_the_image_itself(some, tmp_path):
  """Of 300 x 200 pixels, the network sees the middle."""
  seen, worst = Box(20, 10, 280, 190), Box(40, 80, 60, 101)
  place = inspection.Original((300, 200), seen, worst, hidden=0.25)
  known = dataclasses.replace(some[0], original=place)
  _write(tmp_path / "found", [known, some[1]], formats=("html", "csv", "npz"))
  table = pandas.read_csv(tmp_path / "found" / "inspections.csv")
  assert table.original_box[0] == "40 80 60 101"
  assert table.seen_box[0] == "20 10 280 190"
  assert table.hidden[0] == 0.25
  assert pandas.isna(table.loc[1, ["original_box", "seen_box", "hidden"]]).all()
  with np.load(tmp_path / "found" / "maps.npz") as arrays:
    assert_array_equal(arrays["shape"], [[300, 200], [0, 0]])
    assert_array_equal(arrays["seen_box"], [seen, [0, 0, 0, 0]])
  for name in ("report.html", "report.txt"):
    said = (tmp_path / "found" / name).read_text("utf-8")
    said = " ".join(said.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "does not see 25 % of the marked defect." in said
    assert "% from the top of what the network sees" in said
    assert "The network sees the middle of each image" in said


def test_the_summary(some, tmp_path):
  report = _write(tmp_path / "found", some)
  summary = json.loads((tmp_path / "found" / "summary.json").read_text())
  assert summary == report.summary
  tally = inspection.tally(some)
  assert summary["images"] == 8
  assert summary["images_by_split"] == {"test": 8}
  assert summary["found"] == tally.found
  assert summary["false_positives"] == tally.false_alarms
  assert summary["false_negatives"] == tally.missed
  assert summary["image_auroc"] == pytest.approx(tally.auroc)
  assert summary["thresholds"] == [{"value": 0.25, "rate": 0.05, "images": 39}]
  assert list(summary["by_kind"]) == ["normal", "hole", "stain"]
  assert "false_positives" in summary["by_kind"]["normal"]
  assert "false_positives" not in summary["by_kind"]["hole"]
  assert summary["by_category"]["brick"]["images"] == 4
  assert summary["because"] == pytest.approx(fakes.BECAUSE)
  assert summary["because_shares"]["contrast"] == pytest.approx(0.62)


def test_what_is_not_known_is_not_summed_up(some, tmp_path):
  unknown = [dataclasses.replace(e, kind=None, category="") for e in some]
  summary = _write(tmp_path / "found", unknown).summary
  for name in ("false_positives", "false_negatives", "image_auroc"):
    assert name not in summary
  assert summary["by_kind"] == summary["by_category"] == {}


def test_files_of_an_earlier_run_go(some, tmp_path):
  folder = tmp_path / "found"
  _write(folder, some, formats=("html", "csv", "npz"))
  assert {p.name for p in folder.iterdir()} == _ALWAYS | {"maps.npz"}
  (folder / "notes.csv").write_text("as it was")
  report = _write(folder, some)
  assert {p.name for p in folder.iterdir()} == _ALWAYS | {"notes.csv"}
  assert {p.name for p in report.written} == _ALWAYS


def test_documents_of_all_inspections(some, tmp_path):
  _write(tmp_path / "found", some, formats=("json",))
  found = list(documents.read(tmp_path / "found" / "explanations.jsonl"))
  assert [e.image for e in found] == [e.image for e in some]
  assert [e.defective for e in found] == [e.defective for e in some]


def test_all_maps(some, tmp_path):
  _write(tmp_path / "found", some, formats=("html", "csv", "npz"))
  with np.load(tmp_path / "found" / "maps.npz") as arrays:
    assert list(arrays["image"]) == [e.image for e in some]
    assert_array_equal(arrays["anomaly_map"], [e.anomaly_map for e in some])
    assert_allclose(arrays["score"], [e.score for e in some])
  bare = fakes.inspection()
  with pytest.raises(ValueError, match=r"003\.png has no map"):
    _write(tmp_path / "other", [bare], formats=("html", "csv", "npz"))
  assert not (tmp_path / "other" / "inspections.csv").exists()


def test_only_what_is_shown_keeps_its_pictures(some, tmp_path, monkeypatch):
  monkeypatch.setattr(inspection, "WORST", 2)
  monkeypatch.setattr(inspection, "MISTAKES", 1)
  monkeypatch.setattr("protojax.report.defect_report._SPARE", 0)
  report = _write(tmp_path / "found", some)
  page = Page((tmp_path / "found" / "report.html").read_text("utf-8"))
  shown = [a["id"] for tag, a in page.tags if tag == "article"]
  ordered = inspection.worst_first(some)
  expected = {
    f"image-{ordered.index(some[i]) + 1}" for i in inspection.to_show(some)
  }
  assert set(shown) == expected
  assert len(shown) < len(some)
  kept = [e for e in report._all if e.anomaly_map is not None]
  assert len(kept) == len(shown)


def test_the_head_and_what_the_run_says(some, tmp_path):
  of_run = {"image_auroc": 0.75, "aupro": 0.5, "method": "inp_former"}
  (tmp_path / "summary.json").write_text(json.dumps(of_run))
  _write(tmp_path / "found", some)
  said = Page((tmp_path / "found" / "report.html").read_text("utf-8")).text
  tally = inspection.tally(some)
  assert f"Found defective {tally.found} of 8" in said
  assert f"Missed {tally.missed} of 4" in said
  assert "Threshold 0.250 False alarms expected ≤ 5 %" in said
  assert "scores higher than a normal one 0.750 AUPRO: share" in said
  assert "up to 30 % false pixels 0.500" in said


def test_it_says_what_it_found(some, tmp_path):
  report = _write(tmp_path / "found", some)
  said = io.StringIO()
  report.show(Console(file=said, width=200))
  lines = [line.split() for line in said.getvalue().splitlines()]
  tally = inspection.tally(some)
  assert lines[0] == ["kind", "images", "found", "defective"]
  assert ["normal", "4", str(tally.false_alarms)] in lines
  assert ["all", "8", str(tally.found)] in lines
  assert ["contrast", "62", "%"] in lines
  assert [str(report.folder / "report.html")] in lines


def test_a_modification_with_the_name_of_a_column(tmp_path):
  score = Modification("score", "hue", (0.1,))
  mine = REFERENCE.modifications[0], score
  preset = dataclasses.replace(REFERENCE, modifications=mine)
  with pytest.raises(UserError, match=r"called 'score', as a column of insp"):
    Report(tmp_path / "found", tmp_path, preset=preset)


def test_a_damaged_summary_of_the_run_is_named_at_the_start(tmp_path):
  for text, told in ("{", "is not valid JSON"), ("3", "expected an object"):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UserError, match=rf"summary\.json .*{told}.*: restore"):
      Report(tmp_path / "found", tmp_path)
  (tmp_path / "summary.json").write_text('{"image_auroc": "x", "aupro": null}')
  assert Report(tmp_path / "found", tmp_path)
