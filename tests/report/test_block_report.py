"""The report of blocks: pages, tables, documents and pictures."""

import csv
import dataclasses
import io
import json

import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.console import Console
from protojax.explain import blocks, documents
from protojax.report import block_report, special_pages
from protojax.report.block_report import Report
from tests.explain import block_fakes
from tests.report import inspection_fakes, report_fakes
from tests.report.page_reader import (
  HOSTILE,
  Page,
  assert_folder_is_whole,
  assert_safe,
  assert_safe_and_whole,
)

_ALL = ("html", "csv", "json", "png")


def _write(folder, explained, formats=_ALL, pages=None):
  with Report(folder, folder.parent, formats=formats, pages=pages) as report:
    report.seen("test", len(explained))
    for e in explained:
      report.add(e)
    report.finish()
  return report


def _some():
  return [
    block_fakes.explanation("all", "overview", "tail", title="The whole split"),
    block_fakes.explanation("image-1", group="birds", blocks=_SHORT),
    block_fakes.explanation("image-2", group="fish"),
    block_fakes.explanation("p-1", "global", group="birds", blocks=_SHORT),
  ]


_SHORT = (blocks.Sentence("Short."),)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run") / "explanations"
  _write(folder, _some())
  return folder


def test_every_block_is_on_the_page(written):
  content = (written / "report.html").read_text("utf-8")
  assert_safe_and_whole(content)
  page = Page(content)
  for text in (
    *("The whole split", "Why tail is what it is.", "The tail", "left tail"),
    *("Map of tail", "mm tail", "Parts of tail", "points tail", "12,345"),
    *("loss tail (nats)", "tail a", "Overlap of tail (%)", "second tail"),
    *("More of tail", "tail 1", "The tail is small.", "Do not trust the tail."),
    *("birds (2)", "fish (1)", "Short."),
  ):
    assert text in page.text
  classes = " ".join(page.attributes("class"))
  for name in ("heat", "matrix", "gallery", "curve", "warning"):
    assert name in classes
  # Two pictures, two maps, one of them over a picture, a gallery of two, and
  # regions, in two explanations.
  assert len(page.attributes("src")) == 14


def test_pictures_are_those_of_the_blocks(written):
  blocks_ = block_fakes.every_block("tail")
  for name, picture in (("1", blocks_[1]), ("7-1", blocks_[7].pictures[1])):
    with Image.open(written / "png" / f"all-{name}.png") as image:
      assert_array_equal(np.asarray(image), picture.image)
  assert (written / "png" / "all-2.png").exists()


def test_tables_of_one_caption_are_one_file(written):
  def read(name):
    with (written / "tables" / f"{name}.csv").open() as file:
      return list(csv.reader(file))

  rows = read("parts-of-tail")
  assert rows[0] == ["key", "split", "subject", "part", "points tail", "sure"]
  assert rows[1] == ["all", "test", "tail.png", "tail", "0.25", "1"]
  assert rows[2][3:] == ["rest", "", ""]
  assert read("overlap-of-tail")[1][3:] == ["tail", "1", "-0.5", ""]
  assert len(read("loss-of-tail")) == 1 + 80


def test_tables_that_differ_are_apart(tmp_path):
  def of(key, *columns):
    table = blocks.Table(columns, (("x",) * len(columns),), "The Same")
    return block_fakes.explanation(key, blocks=(table,))

  folder = tmp_path / "found"
  _write(folder, [of("a", "u"), of("b", "u", "v"), of("c", "u")], ("csv",))
  names = {p.name: p.read_text() for p in (folder / "tables").iterdir()}
  assert sorted(names) == ["the-same-2.csv", "the-same.csv"]
  assert len(names["the-same.csv"].splitlines()) == 3


def test_documents_are_those_that_were_added(written):
  found = list(documents.read(written / "explanations.jsonl"))
  assert [e.key for e in found] == [e.key for e in _some()]
  assert documents.to_json(found[2]) == documents.to_json(_some()[2])


def test_a_large_report_is_a_folder(tmp_path, monkeypatch):
  monkeypatch.setattr(block_report, "_EXPLANATIONS", 1)
  folder = tmp_path / "found"

  def pages():
    yield special_pages.Page("more", "More of it", blocks=_SHORT)

  report = _write(folder, _some(), ("html",), pages)
  assert folder / "report" / "index.html" in report.written
  index = Page((folder / "report" / "index.html").read_text("utf-8"))
  assert "../pages/more.html" in index.attributes("href")
  assert (folder / "report" / "../pages/more.html").exists()
  back = Page((folder / "pages" / "more.html").read_text("utf-8"))
  assert "../report/index.html" in back.attributes("href")
  _write(folder, _some(), ("html",))
  assert not (folder / "pages").exists()
  parsed = assert_folder_is_whole(folder / "report")
  assert set(parsed) == {"index.html", "group-0.html", "group-1.html"}
  assert "The whole split" in parsed["index.html"].text
  assert "Short." in parsed["group-0.html"].text
  assert "fish" in parsed["group-1.html"].text


def test_every_name_is_escaped(tmp_path):
  e = block_fakes.explanation(
    name=HOSTILE, title=HOSTILE, subject=HOSTILE, group=HOSTILE
  )

  def pages():
    yield special_pages.Page("p", HOSTILE, HOSTILE, e.blocks, HOSTILE)

  folder = tmp_path / HOSTILE.replace("/", "") / "found"
  _write(folder, [e], ("html",), pages)
  for path in (folder / "report.html", folder / "pages" / "p.html"):
    content = path.read_text("utf-8")
    assert "<script>alert" not in content
    page = Page(content)
    assert f"Why {HOSTILE} is" in page.text
    assert_safe(content, page)
    assert not any(n.startswith("on") for _, a in page.tags for n in a)


def test_what_has_one_title_is_told_apart_by_its_split(tmp_path):
  found = [
    dataclasses.replace(
      block_fakes.explanation(f"{scope}-{s}", scope, blocks=_SHORT), split=s
    )
    for scope in ("overview", "global")
    for s in ("train", "test", "other", "more")
  ]
  _write(tmp_path / "found", found, ("html",))
  said = Page((tmp_path / "found" / "report.html").read_text("utf-8")).text
  for split in ("train", "test"):
    assert said.count(f"Image wing ({split})") == 2


def test_files_of_an_earlier_run_go(tmp_path):
  table = blocks.Table(("a",), ((1,),), "Old")
  old = [block_fakes.explanation("a", blocks=(table, block_fakes.picture()))]
  new = [block_fakes.explanation("b", blocks=_SHORT)]
  folder = tmp_path / "found"
  _write(folder, old)
  assert (folder / "tables" / "old.csv").exists()
  assert (folder / "png" / "a-1.png").exists()
  (folder / "notes.csv").write_text("as it was")
  _write(folder, new, ("html",))
  kept = {"report.html", "summary.json", "notes.csv"}
  assert {p.name for p in folder.iterdir()} == kept
  _write(folder, old, ("csv",))
  table = dataclasses.replace(table, caption="New")
  _write(folder, [dataclasses.replace(old[0], blocks=(table,))], ("csv",))
  assert [p.name for p in (folder / "tables").iterdir()] == ["new.csv"]


def test_evidence_of_other_classes_is_drawn(tmp_path):
  prototypes, images, overviews = report_fakes.run(classes=1)
  added = [*images, prototypes[0], overviews["test"]]
  added.append(inspection_fakes.inspection())
  folder = tmp_path / "found"
  report = _write(folder, added)
  assert report.summary["explanations"] == {
    "local": 3,
    "global": 1,
    "overview": 1,
  }
  content = (folder / "report.html").read_text("utf-8")
  assert_safe_and_whole(content)
  said = Page(content).text
  for text in ("picture 1", "prototype 0", "stain/003.png"):
    assert text in said
  lines = (folder / "explanations.jsonl").read_text().splitlines()
  assert json.loads(lines[0])["kind"] == "image"


def test_keys_must_differ(tmp_path):
  with pytest.raises(ValueError, match="two explanations have the key 'p-1'"):
    _write(tmp_path / "found", [_some()[3]] * 2)
  assert not (tmp_path / "found" / "report.html").exists()


def test_it_says_what_it_found(tmp_path):
  report = _write(tmp_path / "found", _some(), ("html",))
  said = io.StringIO()
  report.show(Console(file=said, width=200))
  lines = [line.split() for line in said.getvalue().splitlines()]
  assert ["local", "2"] in lines
  assert [str(report.folder / "report.html")] in lines


def test_an_empty_report(tmp_path):
  _write(tmp_path / "found", [], ("html",))
  content = (tmp_path / "found" / "report.html").read_text("utf-8")
  assert_safe_and_whole(content)


def test_of_many_some_are_open_at_a_time(tmp_path):
  explained = [
    block_fakes.explanation(f"image-{n}", group=group, blocks=_SHORT)
    for group in ("birds", "fish")
    for n in (range(4) if group == "birds" else range(4, 6))
  ]
  _write(tmp_path / "explanations", explained, ("html",))
  content = (tmp_path / "explanations" / "report.html").read_text("utf-8")
  assert_safe_and_whole(content)
  folded = [a for tag, a in Page(content).tags if tag == "details"]
  # One of all groups is open.
  assert [a["name"] for a in folded] == 6 * ["explanations"]
  assert ["open" in a for a in folded] == [True, *5 * [False]]
  assert content.count("Short.") == 6


def test_of_very_many_forty_are_listed_at_a_time(tmp_path):
  explained = [
    block_fakes.explanation(f"image-{n}", blocks=_SHORT) for n in range(90)
  ]
  _write(tmp_path / "explanations", explained, ("html",))
  content = (tmp_path / "explanations" / "report.html").read_text("utf-8")
  folded = [a for tag, a in Page(content).tags if tag == "details"]
  listed = ["open" in a for a in folded if a["name"] == "many"]
  assert listed == [True, False, False]
  opened = ["open" in a for a in folded if a["name"] == "explanations"]
  assert opened == [True, *89 * [False]]
