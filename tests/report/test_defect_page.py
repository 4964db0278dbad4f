import base64
import dataclasses
import io

import numpy as np
from PIL import Image
import pytest

from protojax.explain import inspection
from protojax.explain.inspection import NORMAL
from protojax.report import defect_page
from protojax.report import defect_pictures as pictures
from protojax.report import defect_sentences as text
from protojax.report.page import Run
from tests.report import inspection_fakes as fakes
from tests.report.page_reader import HOSTILE, Page, assert_safe_and_whole


@pytest.fixture(scope="module")
def inspections():
  return fakes.inspections(8)


@pytest.fixture(scope="module")
def page(inspections):
  run = Run("run", [("Images", "8")], {"image_auroc": 0.9512}, {"hue": 0.1})
  return defect_page.render(run, inspections)


def test_every_name_is_escaped(inspections):
  bad = [
    dataclasses.replace(
      e,
      image=HOSTILE + str(e.index),
      category=HOSTILE + e.category,
      kind=e.kind if e.kind == NORMAL else HOSTILE + e.kind,
    )
    for e in inspections
  ]
  page = defect_page.render(Run(HOSTILE, [("a", HOSTILE)]), bad)
  assert_safe_and_whole(page)
  parsed = Page(page)
  assert any(HOSTILE in alt for alt in parsed.attributes("alt"))
  assert parsed.text.count(HOSTILE) > 30


def test_what_it_says(inspections, page):
  assert_safe_and_whole(page)
  said = Page(page).text.replace("\N{NO-BREAK SPACE}", " ")
  for e in inspections:
    assert e.image in said
    assert text.place(e) in said
    assert text.carried(e) in said
    assert f"score {text.figures(e.score, e.threshold.value)[0]}" in said
  assert text.threshold_sentence(fakes.THRESHOLD) in said
  assert "scores higher than a normal one 0.951" in said
  wrong = sum(e.wrong for e in inspections)
  assert wrong
  assert f"Mistakes ({wrong})" in said
  assert said.count("✓ labelled") == len(inspections) - wrong
  assert text.control(inspections) in said
  assert text.SHARES in said


def test_the_worst_come_first(inspections, page):
  ordered = [e.image for e in inspection.worst_first(inspections)]
  parsed = Page(page)
  shown = [a["alt"] for tag, a in parsed.tags if tag == "img"]
  shown = [alt for alt in shown if alt.startswith("Scores of places of")]
  assert [alt.split(". ")[0][20:] for alt in shown] == ordered
  assert parsed.attributes("id").index("found-defective") < parsed.attributes(
    "id"
  ).index("found-normal")


def test_counts_by_category_and_kind(inspections, page):
  said = Page(page).text
  for category, group in inspection.grouped(inspections, "category").items():
    t = inspection.tally(group)
    row = (
      f"{category} {t.images} {t.found} {t.false_alarms} of {t.normal}"
      f" {t.missed} of {t.defective} {t.auroc:.3f}"
    )
    assert row in said
  for kind, group in inspection.grouped(inspections, "kind").items():
    t = inspection.tally(group)
    assert (
      f"{kind} {t.images} {t.found} {100 * t.found / t.images:.0f} %" in said
    )


def test_pictures(inspections, page):
  worst = inspection.worst_first(inspections)[0]
  seen = [a for tag, a in Page(page).tags if tag == "img"]
  found = {a["alt"]: a["src"] for a in seen}
  # The heat lies over the picture that comes before it.
  place = next(n for n, a in enumerate(seen) if a["alt"].startswith("Scores"))
  assert seen[place + 1]["class"] == "over"
  found["heat"] = seen[place + 1]["src"]
  heat = pictures.heat(worst.picture, worst.anomaly_map, worst.threshold.value)
  wanted = {
    f"Image {worst.image}": worst.picture,
    f"Scores of places of {worst.image}. {text.place(worst)}": pictures.small(
      worst.picture
    ),
    "heat": heat,
    f"Image {worst.image} parted among its own prototypes": pictures.regions(
      worst.picture, worst.assignment
    ),
  }
  for alt, picture in wanted.items():
    data = base64.b64decode(found[alt].partition(",")[2])
    seen = np.asarray(Image.open(io.BytesIO(data)), int)
    assert np.abs(seen - picture).mean() < 12
  outlines = [a["d"] for tag, a in Page(page).tags if a.get("id") == "truth-1"]
  assert outlines == [pictures.outline(worst.truth)]


def test_images_without_pictures_stand_in_the_table(inspections):
  bare = [dataclasses.replace(e, picture=None) for e in inspections[4:]]
  page = defect_page.render(Run("run"), [*inspections[:4], *bare])
  assert_safe_and_whole(page)
  parsed = Page(page)
  articles = [a for tag, a in parsed.tags if tag == "article"]
  rows = [a for a in parsed.attributes("id") if a.startswith("row-")]
  assert (len(articles), len(rows)) == (4, 8)
  for e in bare:
    assert parsed.text.count(e.image) >= 1


def test_images_without_labels(inspections):
  unlabelled = [
    dataclasses.replace(e, kind=None, category="", truth=None, split="images")
    for e in inspections
  ]
  page = defect_page.render(Run("run"), unlabelled)
  assert_safe_and_whole(page)
  said = Page(page).text
  for word in (
    "✗",
    "✓",
    "Mistakes",
    "labelled normal",
    "By category",
    "Missed",
  ):
    assert word not in said
  assert "8 unlabelled images" in said


def test_numbers_alone_and_nothing_at_all(tmp_path):
  plain = fakes.inspection(because={}, worst=None)
  page = defect_page.render(Run("run"), [plain])
  assert_safe_and_whole(page)
  assert "What carries the scores" not in Page(page).text
  defect_page.write(tmp_path / "report.html", Run("run"), [])
  page = (tmp_path / "report.html").read_text("utf-8")
  assert_safe_and_whole(page)
  assert "0 of 0 images found defective" in Page(page).text


def test_an_image_without_any_anomaly(inspections):
  flat = dataclasses.replace(inspections[0], worst_value=0.0, worst=None)
  lost = dataclasses.replace(inspections[1], score=float("nan"))
  page = defect_page.render(Run("run"), [flat, lost])
  assert_safe_and_whole(page)
  said = Page(page).text
  assert "The score of its worst place is 0" in said
  assert "No place has a higher score than the others." in said
  assert "score nan , threshold" in said


def test_a_picture_without_maps(inspections):
  plain = [
    dataclasses.replace(e, anomaly_map=None, assignment=None, prototypes=())
    for e in inspections
  ]
  page = defect_page.render(Run("run"), plain)
  assert_safe_and_whole(page)
  assert sum(tag == "img" for tag, _ in Page(page).tags) == len(plain)
