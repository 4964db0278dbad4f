"""`Model.explain` and `Model.prototypes`: reasons as values in Python."""

import dataclasses
import html
import json
from pathlib import Path
import re
import shutil

from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest
import skimage.data

import protojax as pj
from protojax import why
from protojax.__main__ import main
from protojax.explain import documents
from protojax.explain.evidence import GlobalExplanation, LocalExplanation
from protojax.methods.base import Capabilities
from protojax.model import Model
from protojax.modify import presets
from protojax.report import page
from protojax.types import State, UserError
from tests.explain import block_fakes
from tests.report import inspection_fakes, report_fakes
from tests.report.page_reader import HOSTILE, Page, assert_safe_and_whole

_HEAD = page.Run(title=HOSTILE)


def _class_evidence():
  """Images and prototypes, as `explain` of a method gives them."""
  rng = np.random.default_rng(0)
  prototypes = [report_fakes.prototype(j, HOSTILE, rng) for j in range(3)]
  return [
    report_fakes.image(0, None, HOSTILE, prototypes, rng),
    report_fakes.image(1, None, "cat", prototypes, rng),
    *prototypes,
  ]


@pytest.mark.parametrize(
  ("explanations", "said"),
  [
    (_class_evidence(), "Scoring sheet"),
    ([dataclasses.replace(e, image=HOSTILE, split="images", kind=None)
      for e in inspection_fakes.inspections(2)], "The score of each place"),
    ([block_fakes.explanation(name=HOSTILE)], "Why"),
  ],
  ids=["class", "defect", "blocks"],
)  # fmt: skip
def test_a_reason_shows_itself_and_is_written(explanations, said, tmp_path):
  found = why.reasons(iter(explanations), _HEAD)
  images = [e for e in explanations if not isinstance(e, GlobalExplanation)]
  assert len(found) == len(images)
  for n, (one, of) in enumerate(zip(found, images, strict=True)):
    path = one.to_html(tmp_path / "new" / f"{n}.html")
    text = path.read_text("utf-8")
    assert_safe_and_whole(text)
    assert said in Page(text).text
    document = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert documents.from_json(document) is not None
    if not isinstance(of, LocalExplanation):
      assert document == documents.to_json(of)
    shown = one._repr_html_()
    assert html.unescape(re.search('srcdoc="([^"]*)"', shown)[1]) == text
    assert len(repr(one).splitlines()) == 1


def test_of_an_image_and_its_prototypes():
  found, other = why.reasons(_class_evidence(), _HEAD)
  rows = [row.prototype for row in found.explanation.evidence if row.box]
  assert [e.prototype for e in found.prototypes] == rows
  text = Page(found.as_html()).text
  for words in ("Scoring sheet", "Hue", "Texture", "Prototype 0", "points"):
    assert words.lower() in text.lower()
  best = other.explanation.predicted
  assert repr(other) == (
    f"why {other.image}: {best.class_name} ({best.probability:.3f})"
  )


class _Odd:
  """A method without images, and one whose prototypes are no patches."""

  capabilities = Capabilities(explains=lambda method: method)
  network = None

  def __init__(self, **data):
    self.config = ConfigDict({"method": "odd", "data": data})

  def stale(self, state):
    return False


def test_what_has_no_such_answer_is_refused():
  def model(method):
    return Model(Path("run"), method, State({}, {}, {}), method.config)

  pixels = np.zeros((4, 4, 3), np.uint8)
  with pytest.raises(UserError, match="odd, takes no images"):
    model(_Odd()).explain(pixels)
  with pytest.raises(UserError, match="prototypes of odd are no patches"):
    model(_Odd(image_size=8)).prototypes  # noqa: B018
  with pytest.raises(UserError, match="preset"):
    model(_Odd(image_size=8)).explain(pixels, preset="loud")
  with pytest.raises(UserError, match="attribution: 'prq'; did you mean prp"):
    model(_Odd(image_size=8)).explain(pixels, heat="prq")
  with pytest.raises(UserError, match=r"^heat=prp: odd draws maps of its own"):
    model(_Odd(image_size=8)).explain(pixels, heat="prp")
  with pytest.raises(UserError, match="odd keeps no bank of prototypes"):
    model(_Odd()).bank  # noqa: B018
  with pytest.raises(UserError, match=r"type float64; .*255 \* x"):
    model(_Odd(image_size=8)).explain(pixels / 255)
  silent = _Odd(image_size=8)
  silent.capabilities = Capabilities()
  with pytest.raises(UserError, match="does not explain its answers"):
    model(silent).explain(pixels)


def _assert_same(found, wanted):
  """The same document, but for the rounding of batches of other sizes."""
  if isinstance(wanted, dict):
    assert found.keys() == wanted.keys()
  if isinstance(wanted, dict | list):
    assert len(found) == len(wanted)
    for key in wanted if isinstance(wanted, dict) else range(len(wanted)):
      _assert_same(found[key], wanted[key])
  elif isinstance(wanted, float):
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)
  else:
    assert found == wanted


@pytest.mark.slow
def test_python_says_what_explain_says(train_arrays, tmp_path, capsys):
  run = shutil.copytree(train_arrays().folder, tmp_path / "arrays")
  photos = tmp_path / "photos"
  photos.mkdir()
  for name in ("astronaut", "rocket"):
    pixels = getattr(skimage.data, name)()
    Image.fromarray(pixels).resize((90, 60)).save(photos / f"{name}.png")
  model = pj.load(run)
  flags = "--preset=contrast=0.45", "--format=json"
  assert main(["explain", f"--workdir={run}", f"--images={photos}",
               *flags]) == 0  # fmt: skip
  place = run / "explanations" / "images" / "explanations.jsonl"
  lines = [json.loads(line) for line in place.read_text().splitlines()]
  told = {line["image"]: line for line in lines if line["kind"] == "image"}
  found = model.explain(photos, preset="contrast=0.45")
  assert len(found) == len(told)
  for one in found:
    _assert_same(one.to_dict(), told[one.image])

  prototypes = model.prototypes
  living = next(p for p in prototypes if p.alive)
  taken = model.bank.provenance
  assert living.provenance.index == taken.image[living.number]
  assert living.provenance.cell == taken.cell[living.number]
  assert living.picture.size == (104, 104)
  assert set(living.because) == set(presets.DEFAULT.names) - {"identity"}
  assert_safe_and_whole(living._page())
  assert (
    living.to_dict()["because"]["train"]["scores"]["hue"]
    == (living.because["hue"])
  )
  assert len(prototypes[-2:]) == 2
  assert prototypes[-1].number == len(prototypes) - 1
  with pytest.raises(IndexError, match=f"there are {len(prototypes)} "):
    prototypes[len(prototypes)]
