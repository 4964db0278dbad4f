"""Presets of the package, presets from files, and sweeps of strengths."""

import dataclasses
import json

import numpy as np
import pytest

from protojax.modify import presets
from protojax.modify.modification import CHARACTERISTICS, Modification, stacked
from protojax.modify.presets import Preset
from protojax.types import UserError

IDENTITY = Modification("identity", "identity")


@pytest.mark.parametrize("name", presets.PRESETS)
def test_columns_of_every_preset(name):
  preset = presets.load(name)
  scores = [name for name in preset.names if name not in presets.SIDES]
  assert scores == ["identity", *CHARACTERISTICS, "brightness"]
  assert (preset.name, preset.mode, preset.codec) == (name, "fast", "none")


def test_strengths_of_the_reference_code():
  assert list(map(str, presets.REFERENCE.modifications)) == [
    "identity",
    "contrast: factor 0.45",
    "saturation: factor 0.7",
    "hue: turn 0.1",
    "warp: amplitude 4, frequency 0.05",
    "texture: h 4, template 7, search 21",
    "brightness: factor 0.8",
  ]
  assert (presets.REFERENCE.own_cell, presets.REFERENCE.weighted) == (0, 1)


def test_balanced_shrinks_luma_and_chroma_alike():
  changed = set(presets.BALANCED.modifications)
  changed -= set(presets.REFERENCE.modifications)
  assert sorted(map(str, changed)) == [
    "contrast_luma: factor 0.45",
    "saturation: factor 0.45",
  ]


def test_a_characteristic_with_sides_has_the_larger_loss():
  preset = presets.TWO_SIDED
  assert set(presets.SIDES.values()) == set(CHARACTERISTICS)
  delta = np.random.default_rng(0).normal(
    size=(3, len(preset.modifications), 4)
  )
  own = dict(
    zip(
      [m.name for m in preset.modifications], delta.swapaxes(0, 1), strict=True
    )
  )
  found = np.asarray(preset.scores(delta))
  assert len(preset.names) == found.shape[1]
  for name, scores in zip(preset.names, found.swapaxes(0, 1), strict=True):
    sides = [own[s] for s, of in presets.SIDES.items() if of == name]
    wanted = np.maximum(*sides) if sides else own[name]
    np.testing.assert_allclose(scores, wanted, rtol=1e-6)


def test_a_grey_image_has_no_side_of_colour():
  preset = presets.TWO_SIDED
  seen = dict(zip(preset.names, preset.seen(grey=True), strict=True))
  colour = {
    name for name, of in presets.SIDES.items() if of in ("hue", "saturation")
  }
  assert {name for name, can in seen.items() if not can} == {
    "hue",
    "saturation",
    *colour,
  }
  assert preset.seen(grey=False).all()
  assert preset.of_grey().names == tuple(n for n in preset.names if seen[n])


def test_the_first_version_of_the_paper():
  assert list(map(str, presets.V1.modifications))[1:6] == [
    "contrast: factor 0.5",
    "saturation: factor 0.5",
    "hue: turn 0.5",
    "bars: distance 10, count 25, seed 0",
    "texture: h 10, template 11, search 21",
  ]
  assert (presets.V1.own_cell, presets.V1.weighted) == (True, False)


def test_codec_saves_at_the_qualities_of_the_reference_code():
  preset = presets.load("reference", "reference", "reference")
  assert (preset.mode, preset.codec, preset.jpeg) == (
    "reference",
    "reference",
    95,
  )
  assert {m.name: m.jpeg for m in preset.modifications} == {
    "identity": 75,
    "contrast": 75,
    "saturation": 75,
    "hue": 75,
    "shape": 95,
    "texture": 95,
    "brightness": 75,
    "identity_95": 95,
  }
  # Each is a copy of its own; without a codec the control is row 0 itself.
  assert stacked(preset.modifications)[1] == tuple(range(1, 9))
  plain = presets.load("reference", "reference").modifications
  assert stacked(plain) == (plain[1:], tuple(range(7)))


def test_record_tells_presets_apart():
  made = [
    presets.load(name, mode, codec)
    for name in (*presets.PRESETS, "hue=0.1,0.2")
    for mode, codec in (
      ("fast", "none"),
      ("reference", "none"),
      ("reference", "reference"),
    )
  ]
  records = {json.dumps(preset.record()) for preset in made}
  assert len(records) == len(made)
  assert presets.load("v1").record()["modifications"][4] == {
    "name": "shape",
    "change": "bars",
    "distance": 10,
    "count": 25,
    "seed": 0,
  }


def test_strengths_of_one_modification():
  preset = presets.load("shape=0,2.5,8")
  assert preset.name == "shape=0,2.5,8"
  assert preset.names == ("identity", "shape 0", "shape 2.5", "shape 8")
  assert preset.modifications[2].settings == {
    "amplitude": 2.5,
    "frequency": 0.05,
  }
  luma = presets.load("contrast_luma=0.3")
  assert str(luma.modifications[1]) == "contrast_luma: factor 0.3"


def test_file_of_ones_own(tmp_path):
  path = tmp_path / "mine.json"
  mine = [
    {"name": "contrast", "change": "contrast_luma", "factor": 0.3},
    {"name": "shape", "change": "warp", "amplitude": 6},
    {"change": "hue", "turn": -0.25},
  ]
  path.write_text(json.dumps({"modifications": mine, "weighted": False}))
  assert presets.load(str(path), "reference") == Preset(
    "mine",
    (
      IDENTITY,
      Modification("contrast", "contrast_luma", (0.3,)),
      Modification("shape", "warp", (6, 0.05)),
      Modification("hue", "hue", (-0.25,)),
    ),
    weighted=False,
    mode="reference",
  )


@pytest.mark.parametrize(
  ("content", "told"),
  [
    ("[", "mine.json is not valid JSON"),
    ("[]", r"holds \[\]; expected an object .*: expected {\"modifications"),
    ('{"modifications": 3}', "holds 3 at modifications; expected a list"),
    ('{"modifications": [], "weightd": 1}', "'weightd'; did you mean weighted"),
    ('{"modifications": [], "weighted": 1}', "1 at weighted; expected true or"),
    ('{"modifications": ["hue"]}', r"modifications\[0\]; expected an object"),
    ('{"modifications": [{"change": "hu"}]}', "'hu'; did you mean hue"),
    (
      '{"modifications": [{"change": "hue", "trn": 0.1}]}',
      "'trn'; did you mean turn",
    ),
    ('{"modifications": [{"change": "hue"}]}', "0 strengths.*it takes turn"),
    ('{"modifications": [{"change": "hue", "turn": 2}]}', "from -0.5 to 0.5"),
    (
      '{"modifications": [{"change": "hue", "turn": "1"}]}',
      "'1'; expected a n",
    ),
    (
      '{"modifications": [{"change": "texture", "h": 4, "search": 9.5}]}',
      "search=9.5 is out of range; use a whole number from 1 to 99",
    ),
    (
      '{"modifications": [{"change": "hue", "turn": 0.1},'
      ' {"name": "hue", "change": "hue", "turn": 0.2}]}',
      "several modifications are called hue",
    ),
    (
      '{"modifications": [{"change": "hue", "turn": 0.1},'
      ' {"change": "identity"}]}',
      "must be identity",
    ),
    (
      '{"modifications": [{"change": "hue", "turn": 0.1, "name": "identity"}]}',
      "must be identity, the control, which changes nothing",
    ),
    *(
      (
        json.dumps(
          {"modifications": [{"name": name, "change": "hue", "turn": 0.1}]}
        ),
        "cannot be the name of a preset or a modification",
      )
      for name in ("", " a", "a\n", "\x1b[2J", "\u202egnp", "x" * 101)
    ),
    (
      '{"name": "\\u0007", "modifications": []}',
      "cannot be the name of a preset",
    ),
    ('{"modifications": [{"change": "brightness", "factor": 1e300}]}', "1000"),
    (
      '{"modifications": [{"change": "bars", "distance": 1, "seed": 1e18}]}',
      "seed=1e.18 is out of range; use a whole number from 0 to 4294967295",
    ),
    (
      json.dumps(
        {"modifications": [{"change": "identity", "name": "a"}] * 200}
      ),
      "has 200 modifications; use at most 100",
    ),
  ],
)
def test_what_is_wrong_with_a_file(content, told, tmp_path):
  path = tmp_path / "mine.json"
  path.write_text(content)
  with pytest.raises(UserError, match=told):
    presets.load(str(path))


@pytest.mark.parametrize(
  ("arguments", "told"),
  [
    (
      ("balancd",),
      "'balancd'; did you mean balanced.*v1, two_sided, FILE.json, contr",
    ),
    (("none.json",), "none.json cannot be read: no such file"),
    (("contrst=1",), "'contrst'; did you mean contrast"),
    (("hue=0.1,a",), "strengths are numbers"),
    (("hue=0.7",), "out of range"),
    (("hue=" + "0.1," * 200 + "0.1",), "201 modifications; use at most 100"),
    (("hue=nan",), "turn=nan is out of range"),
    (("a\0.json",), "cannot be read: .*embedded null"),
    (("x" * 300 + ".json",), "cannot be read: file name too long"),
    (("reference", "refrence"), "unknown mode: 'refrence'"),
    (("reference", "reference", "jpeg"), "unknown codec: 'jpeg'"),
    (("reference", "fast", "reference"), "use mode reference with it"),
  ],
)
def test_what_cannot_be_loaded(arguments, told):
  with pytest.raises(UserError, match=told):
    presets.load(*arguments)


def test_brackets_are_a_name(tmp_path):
  path = tmp_path / "[mine].json"
  mine = {"name": "[/red]", "change": "hue", "turn": 0.1}
  path.write_text(json.dumps({"modifications": [mine]}))
  preset = presets.load(str(path))
  assert (preset.name, preset.names) == ("[mine]", ("identity", "[/red]"))


def test_mode_is_checked_however_a_preset_is_made():
  with pytest.raises(UserError, match="unknown mode: 'slow'"):
    dataclasses.replace(presets.REFERENCE, mode="slow")
