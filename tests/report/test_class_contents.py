"""The pages of explanations that `prototypical` made."""

import base64
import dataclasses
import io

import numpy as np
from PIL import Image
import pytest

from protojax.explain import prototypical
from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
)
from protojax.explain.merging import merge
from protojax.explain.request import Request
from protojax.report import class_contents, class_pages, sentences
from protojax.report import page as pages
from protojax.report.pictures import Pictures
from tests.explain import explain_fakes as fakes
from tests.report import report_fakes
from tests.report.page_reader import (
  HOSTILE,
  Page,
  assert_folder_is_whole,
  assert_safe_and_whole,
)

NAMES = [HOSTILE, "plain", "third"]
FILES = [f"{HOSTILE}-{i}" for i in range(6)]


def _options(**changes):
  return {"preset": fakes.PRESET, **changes}


@pytest.fixture(scope="module")
def explained():
  model, state = fakes.trained(names=NAMES, dead=(5,))
  model.train.names = [f"{HOSTILE}-{i}" for i in range(12)]
  test = fakes.Images(fakes.photographs(6, seed=9), np.arange(6) % 3, FILES)
  found = [
    *prototypical.explain(
      model,
      state,
      model.train,
      Request(split="train", scope="global", preset=fakes.PRESET),
      training=lambda: model.train,
    ),
    *prototypical.explain(
      model,
      state,
      test,
      Request(preset=fakes.PRESET),
      training=lambda: model.train,
    ),
  ]
  return (
    merge(e for e in found if isinstance(e, GlobalExplanation)),
    [e for e in found if isinstance(e, LocalExplanation)],
    {e.split: e for e in found if isinstance(e, Overview)},
  )


RUN = pages.Run(
  HOSTILE, [("Images", HOSTILE)], {"after_prune": 0.957}, {"hue": 0.1}
)


def _write(folder, *explained, run=RUN):
  with Pictures(folder) as pictures:
    (path,) = class_pages.write(pictures, run, *explained)
  return path


def _said(folder, *explained, run=RUN):
  return Page(_write(folder, *explained, run=run).read_text("utf-8")).text


@pytest.fixture(scope="module")
def page(explained, tmp_path_factory):
  path = _write(tmp_path_factory.mktemp("report"), *explained)
  return path.read_text("utf-8")


def test_notes_that_are_given_are_explained(explained, tmp_path):
  prototypes, images, overviews = explained
  noted = [dataclasses.replace(e, notes={"purity": 0.5}) for e in prototypes]
  run = dataclasses.replace(
    RUN, notes={"purity": "How pure it is.", "kind": "What it is."}
  )
  said = _said(tmp_path, noted, images, overviews, run=run)
  assert "Purity How pure it is." in said
  assert "What it is." not in said


def test_every_name_is_escaped(page):
  assert_safe_and_whole(page)
  parsed = Page(page)
  assert HOSTILE in parsed.text
  assert any(HOSTILE in alt for alt in parsed.attributes("alt"))


@pytest.mark.slow
def test_every_name_is_escaped_in_a_folder(explained, tmp_path, monkeypatch):
  monkeypatch.setattr(class_pages, "_PROTOTYPES", 0)
  path = _write(tmp_path, *explained)
  pages = assert_folder_is_whole(path.parent)
  assert HOSTILE in pages["class-0.html"].text
  assert HOSTILE in pages["index.html"].text


def test_pictures(explained, page):
  parsed = Page(page)
  e = explained[0][0]
  (picture,) = (
    a
    for tag, a in parsed.tags
    if tag == "img"
    and a["alt"].startswith("Training image")
    and a["alt"].endswith(f"prototype {e.prototype}")
  )
  data = base64.b64decode(picture["src"].partition(",")[2])
  found = np.asarray(Image.open(io.BytesIO(data)), int)
  wanted = e.patch.picture.astype(int)
  assert found.shape == wanted.shape
  assert np.abs(found - wanted).mean() < 12


def test_what_it_says(explained, page):
  prototypes, images, _ = explained
  said = Page(page).text
  for e in prototypes:
    if e.alive:
      assert f"Prototype {e.prototype} " in said
      assert sentences.global_sentence(e, "test") in said
  assert "Prototype 5 " not in said
  assert "Pruned, without points: 5." in said
  assert "same patch as 0" in said
  assert "95.7%" in said
  assert sentences.RECEPTIVE_FIELD in said
  assert sentences.IDENTITY in said
  for e in images:
    assert sentences.local_sentence(e.evidence[0]) in said
    scoring_sheet = sentences.scoring_sheet(e)
    assert f"{scoring_sheet.rows[0].points}".replace("-", "−") in said
    assert f"Looks like {e.predicted.class_name}" in said
    assert f"Runner-up: {e.answers[1].class_name}" in said
  wrong = sum(e.wrong for e in images)
  assert said.count("✗ it is") == wrong
  assert said.count("✓ right") == len(images) - wrong


@pytest.mark.slow
def test_images_alone(explained, tmp_path):
  prototypes, images, _ = explained
  bare = [
    dataclasses.replace(e, because={}, without_own={}, nearest={})
    for e in prototypes
  ]
  unlabelled = [
    dataclasses.replace(e, label=None, split="images") for e in images
  ]
  said = _said(tmp_path, bare, unlabelled)
  # The image comes before the prototypes that it is compared with.
  assert said.index("Looks like") < said.index("Where it is most similar")
  assert "Without a label" in said
  assert "✗" not in said
  assert "Over the" not in said
  assert "6 images shown." in said


def test_prototypes_alone_and_nothing_at_all(explained, tmp_path):
  prototypes, _, _ = explained
  assert "Scoring sheet" not in _said(tmp_path, prototypes, [])
  emptied = [dataclasses.replace(e, alive=False) for e in prototypes]
  said = _said(tmp_path, emptied, [])
  assert "No prototype of this class is left" in said
  assert Page(_write(tmp_path, [], []).read_text("utf-8")).tags


def test_cautions_are_those_that_apply(explained, tmp_path):
  run = dataclasses.replace(RUN, mode="reference")
  assert sentences.FAST in _said(tmp_path, *explained)
  assert sentences.FAST not in _said(tmp_path, *explained, run=run)


def test_classes_hold_what_is_theirs(explained):
  prototypes, images, _ = explained
  groups = class_contents.groups(prototypes, images)
  assert [g.name for g in groups] == NAMES
  assert [e for g in groups for e in g.alive] == [
    e for e in prototypes if e.alive
  ]
  assert groups[1].dead == (5,)
  for group in groups:
    assert all(e.label == group.name for e in group.images)
  assert sum(len(g.images) for g in groups) == len(images)


def test_prototypes_of_no_class_are_filed_where_they_are_used():
  prototypes, _, _ = report_fakes.run(classes=2, each=3)
  free = [dataclasses.replace(e, kind="favourite") for e in prototypes]
  used = {(0, "class 1"): 3.0, (0, "class 0"): 1.0, (4, "class 1"): 5.0}
  found = class_contents.filed(free, used)
  assert [e.prototype for e in found] == [1, 2, 4, 0, 3, 5]
  assert [e.group for e in found] == ["class 0"] * 2 + ["class 1"] * 4
  assert class_contents.filed(prototypes, used) == prototypes
