import base64
import dataclasses
import io

import explain_fakes as fakes
import numpy as np
from page_reader import HOSTILE, Page, assert_safe_and_whole
from PIL import Image
import pytest

from protojax.explain import html, prototypical, text
from protojax.explain import page as pages
from protojax.explain.evidence import GlobalExplanation, LocalExplanation, merge

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
      training=lambda: model.train,
      split="train",
      scope="global",
      **_options(),
    ),
    *prototypical.explain(
      model, state, test, training=lambda: model.train, **_options()
    ),
  ]
  return (
    merge(e for e in found if isinstance(e, GlobalExplanation)),
    [e for e in found if isinstance(e, LocalExplanation)],
  )


@pytest.fixture(scope="module")
def page(explained):
  run = pages.Run(
    HOSTILE, [("Images", HOSTILE)], {"after_prune": 0.957}, {"hue": 0.1}
  )
  return html.render(run, *explained)


def test_every_name_is_escaped(page):
  assert_safe_and_whole(page)
  parsed = Page(page)
  assert HOSTILE in parsed.text
  assert any(HOSTILE in alt for alt in parsed.attributes("alt"))


def test_pictures(explained, page):
  parsed = Page(page)
  pictures = [a for tag, a in parsed.tags if tag == "img"]
  assert pictures
  data = base64.b64decode(pictures[0]["src"].partition(",")[2])
  found = np.asarray(Image.open(io.BytesIO(data)), int)
  wanted = explained[0][0].patch.picture.astype(int)
  assert found.shape == wanted.shape
  assert np.abs(found - wanted).mean() < 12


def test_what_it_says(explained, page):
  prototypes, images = explained
  said = Page(page).text
  for e in prototypes:
    if e.alive:
      assert f"Prototype {e.prototype} " in said
      assert text.global_sentence(e, "test") in said
  assert "Prototype 5 " not in said
  assert "Pruned, and without a say: 5." in said
  assert "same patch as 0" in said
  assert "95.7%" in said
  assert text.RECEPTIVE_FIELD in said
  assert text.IDENTITY in said
  for e in images:
    assert text.local_sentence(e.evidence[0]) in said
    sheet = text.sheet(e)
    assert f"{sheet.rows[0].points}".replace("-", "−") in said
    assert f"Looks like {e.predicted.class_name}" in said
    assert f"Runner-up: {e.answers[1].class_name}" in said
  wrong = sum(e.wrong for e in images)
  assert said.count("✗ it is") == wrong
  assert said.count("✓ right") == len(images) - wrong


def test_images_alone(explained):
  prototypes, images = explained
  bare = [
    dataclasses.replace(e, because={}, without_source={}) for e in prototypes
  ]
  unlabelled = [
    dataclasses.replace(e, label=None, split="images") for e in images
  ]
  said = Page(html.render(pages.Run("run"), bare, unlabelled)).text
  assert "Without a label" in said
  assert "✗" not in said
  assert "Over the" not in said
  assert "6 images shown." in said


def test_prototypes_alone_and_nothing_at_all(explained, tmp_path):
  prototypes, _ = explained
  said = Page(html.render(pages.Run("run"), prototypes, [])).text
  assert "Scoring sheet" not in said
  emptied = [dataclasses.replace(e, alive=False) for e in prototypes]
  said = Page(html.render(pages.Run("run"), emptied, [])).text
  assert "No prototype of this class is left" in said
  html.write(tmp_path / "report.html", pages.Run("run"), [], [])
  assert Page((tmp_path / "report.html").read_text("utf-8")).tags
