"""Both forms of the pages of classes, from fake explanations."""

import dataclasses

import pytest

from protojax.explain.evidence import Redundancy
from protojax.explain.redundancy import Group
from protojax.report import class_pages, glossary, page, page_files
from protojax.report.pictures import Pictures
from protojax.types import UserError
from tests.report import report_fakes as fakes
from tests.report.page_reader import (
  Page,
  assert_folder_is_whole,
  assert_safe_and_whole,
)

RUN = page.Run("run", [("Images", "9")], {"after_prune": 0.9}, {"hue": 0.1})


def _write(folder, prototypes, images, overviews=None, statistics=()):
  with Pictures(folder) as pictures:
    paths = class_pages.write(
      pictures, RUN, prototypes, images, overviews, statistics
    )
  assert not list(folder.glob(".*"))
  return paths


@pytest.fixture
def large(monkeypatch):
  """Every run is too large for one file."""
  monkeypatch.setattr(class_pages, "_PROTOTYPES", 0)


@pytest.fixture(scope="module")
def run():
  prototypes, images, overviews = fakes.run()
  groups = (Group("exact", (1, 2), 0.0, 1.0, 0.0),)
  overviews["test"] = dataclasses.replace(
    overviews["test"], redundancy=Redundancy(groups, 0.9, 0.875)
  )
  return prototypes, images, overviews


def test_a_small_run_is_one_file(run, tmp_path):
  (path,) = _write(tmp_path, *run)
  assert path == tmp_path / "report.html"
  assert list(tmp_path.iterdir()) == [path]
  assert_safe_and_whole(path.read_text("utf-8"))


def test_a_large_run_is_a_folder(run, tmp_path, large):
  (path,) = _write(tmp_path, *run)
  assert path == tmp_path / "report" / "index.html"
  assert list(tmp_path.iterdir()) == [path.parent]
  pages = assert_folder_is_whole(path.parent)
  assert set(pages) == {"index.html", *(f"class-{n}.html" for n in range(3))}
  shown = {a for p in pages.values() for a in p.attributes("src")}
  files = {str(p.relative_to(path.parent)) for p in path.parent.rglob("*.jpg")}
  assert shown == files
  prototypes, images, _ = run
  for n in range(3):
    places = pages[f"class-{n}.html"].attributes("id")
    for e in prototypes:
      own = e.group == f"class {n}"
      assert (f"prototype-{e.prototype}" in places) == own
    for e in images:
      own = e.label == f"class {n}"
      assert (f"image-test-{e.index}" in places) == own


@pytest.mark.slow
def test_both_forms_say_the_same(run, tmp_path, monkeypatch):
  (one,) = _write(tmp_path / "one", *run)
  monkeypatch.setattr(page_files, "BYTES", 0)
  (index,) = _write(tmp_path / "many", *run)
  said = Page(one.read_text("utf-8")).text
  pages = [Page(p.read_text("utf-8")).text for p in index.parent.glob("*.html")]
  together = " ".join(pages)
  for words in (
    "misleading: 100% of its nearest patches",
    "same patch as 1",
    "says nearly the same as 0",
    "stale: moved",
    "1 prototype could go",
    "87.5% of the test images instead of 90.0%",
    "Nearest patches, train",
    "✗ another",
    "Rest on it most",
    "as it is",
    *(glossary.FLAGS[f] for f in glossary.FLAGS),
  ):
    assert words in said
    assert words in together


@pytest.mark.slow
def test_the_other_form_of_an_earlier_run_goes(run, tmp_path, monkeypatch):
  _write(tmp_path, *run)
  monkeypatch.setattr(class_pages, "_PROTOTYPES", 0)
  _write(tmp_path, *run)
  assert [p.name for p in tmp_path.iterdir()] == ["report"]
  stray = tmp_path / "report" / "class-99.html"
  stray.write_text("of an earlier run")
  _write(tmp_path, *run)
  assert not stray.exists()
  monkeypatch.undo()
  _write(tmp_path, *run)
  assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_what_is_written_in_the_table_is_what_scripts_look_for(run, tmp_path):
  (path,) = _write(tmp_path, *run)
  parsed = Page(path.read_text("utf-8"))
  rows = [a for tag, a in parsed.tags if tag == "tr" and "data-group" in a]
  prototypes = run[0]
  assert len(rows) == len(prototypes)
  for row, e in zip(rows, prototypes, strict=True):
    scores = {n: e.because["test"].scores[n] for n in fakes.NAMES[1:]}
    first = max(scores, key=scores.get)
    assert row["data-first"] == (first if scores[first] > 0 else "none")
    assert row["data-flags"].split() == list(glossary.flags(e))
    assert row["data-group"] == str(e.prototype // 4)


def test_pruned_prototypes_and_those_no_image_is_like(run, tmp_path, large):
  prototypes, images, overviews = run
  lost = dict.fromkeys(fakes.NAMES, float("nan"))
  unlike = dataclasses.replace(
    prototypes[1].because["test"], scores=lost, similarity=float("nan")
  )
  changed = [
    dataclasses.replace(prototypes[0], alive=False),
    dataclasses.replace(
      prototypes[1], because={**prototypes[1].because, "test": unlike}
    ),
    *prototypes[2:],
  ]
  (index,) = _write(tmp_path, changed, images, overviews)
  pages = assert_folder_is_whole(index.parent)
  assert "Pruned, without points: 0." in pages["class-0.html"].text
  assert "No test image is like prototype 1" in pages["class-0.html"].text


def test_no_place_to_write(run, tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="could not be written"):
    _write(tmp_path / "file", *run)
  (tmp_path / "report.html").mkdir()
  with pytest.raises(UserError, match="could not be written"):
    _write(tmp_path, *run)


def test_the_answer_comes_first(run, tmp_path):
  prototypes, images, overviews = run
  answers = {(e.label, e.predicted.class_name): 3 for e in images}
  with Pictures(tmp_path) as pictures:
    (path,) = class_pages.write(
      pictures, RUN, prototypes, images, overviews, (), answers
    )
  page_ = Page(path.read_text("utf-8"))
  assert_safe_and_whole(path.read_text("utf-8"))
  said = page_.text
  order = [
    said.rindex(words)
    for words in (
      "All prototypes Living prototypes",
      "What is taken for what",
      "What matters overall",
      "Looks like class 0",
      "What the model does, and how the scores are made",
      "What to be careful about Compare",
    )
    if words in said
  ]
  assert order == sorted(order)
  assert len(order) >= 5
  # 3 of 6 images of each class are right.
  assert "class 0 50.0% 3" in said
  # A number of the matrix leads to an image.
  links = [a.get("href") for tag, a in page_.tags if tag == "a"]
  assert "#image-test-1" in links


def test_many_cards_are_in_pages_of_which_one_is_open(tmp_path):
  prototypes, images, overviews = fakes.run(classes=1, each=30)
  (path,) = _write(tmp_path, prototypes, images, overviews)
  details = [
    a
    for tag, a in Page(path.read_text("utf-8")).tags
    if tag == "details" and a.get("name") == "prototypes-0"
  ]
  assert ["open" in a for a in details] == [True, *9 * [False]]
