"""`protojax.interact` without a page: the function, files, the command."""

import csv
import json

import jax
from ml_collections import ConfigDict
import numpy as np
from numpy.testing import assert_allclose
import pytest

from configs import csr_composites
from protojax import methods
from protojax.__main__ import main
from protojax.data import images, stream
from protojax.data.resizing import Resizing
from protojax.interact import intervention, saved
from protojax.interact.answers import Model, intervene
from protojax.interact.atlas_images import Atlas
from protojax.interact.intervention import Box, Intervention
from protojax.interact.session import Session
from protojax.methods.base import Capabilities
from protojax.prototypes.bank import bank_of, with_bank
from protojax.types import UserError
from tests import starts
from tests.interact import interact_fakes as fakes

_CORNER = (10, 20, 20, 40)  # the blue square of every image
_WIDE = (0, 0, 10, 40)


@pytest.fixture
def model():
  method = fakes.Method()
  return method, fakes.state(method)


@pytest.mark.parametrize(
  "said",
  [
    {},
    {"look": [_CORNER]},
    {"look": [_CORNER], "alpha": 0.0},
    {"ignore": [_WIDE]},
    {"look": [_WIDE], "ignore": [(0, 0, 20, 20)], "alpha": 0.2},
    {"rejected": ["red"]},
    {"look": [_CORNER], "rejected": list(fakes.CONCEPTS), "alpha": 1.0},
  ],
  ids=str,
)
def test_the_function_is_the_model_put_right(model, said):
  image = model[0].source.images[1]
  before, after = intervene(*model, image, **said)
  assert_allclose(before.probabilities, fakes.naive(image), rtol=1e-5)
  assert_allclose(after.probabilities, fakes.naive(image, **said), rtol=1e-5)
  assert before.predicted == 0
  assert before.maps.shape == (*fakes.GRID, 2)


def test_what_is_cut_off_is_not_seen_and_boxes_move_with_the_rest(
  model, tmp_path
):
  """Of 16 x 40 pixels, the network sees columns 12 to 28, in their size."""
  method, state = model
  method.config = ConfigDict({"data": {"resize": "aspect"}})
  wide = method.source.images[1][:16]
  seen, box = wide[:, 12:28], (6, 10, 16, 22)
  before, after = intervene(method, state, wide, [box], alpha=0.0)
  assert_allclose(before.probabilities, fakes.naive(seen), rtol=1e-5)
  expected = fakes.naive(seen, [(6, 0, 16, 10)], alpha=0.0)
  assert_allclose(after.probabilities, expected, rtol=1e-5)
  with pytest.raises(UserError, match=r"\(0, 12, 16, 28\) \(top, left"):
    intervene(method, state, wide, [(0, 28, 8, 40)])
  # The page lays heat over what is seen, and marks cells there.
  method.source.images = method.source.images[:, :16]
  rule = Resizing("aspect")
  method.stream = lambda split: stream.ordered(
    method.source, fakes.SIZE, 4, resizing=rule
  )
  source = method.source
  content = [images.digest(x[:, 12:28]) for x in source.images[[0, -1]]]
  bank = bank_of(state)
  provenance = bank.provenance.replace(content=np.stack(content))
  state = with_bank(state, bank.replace(provenance=provenance))
  atlas = Atlas(method, state, fakes.GRID)
  model = Model(method, state)
  session = Session(model, source, tmp_path / "x.json", atlas)
  opened = session.opened(0)["seen"]
  assert opened == {"top": 0, "left": 0.3, "bottom": 1, "right": 0.7}
  place = atlas.place(1)  # the last of 4 x 4 cells
  sides = [place[side] for side in ("top", "left", "bottom", "right")]
  assert_allclose(sides, [0.75, 0.6, 1, 0.7])


def test_boxes_may_be_arrays(model):
  image = model[0].source.images[0]
  boxes = np.array([_CORNER], np.int64)
  _, after = intervene(*model, image, look=boxes, alpha=0.0)
  assert_allclose(
    after.probabilities, fakes.naive(image, [_CORNER], alpha=0.0), rtol=1e-5
  )


def test_margin_is_between_the_first_two(model):
  before, _ = intervene(*model, model[0].source.images[2])
  shares = np.sort(before.probabilities)
  assert_allclose(before.margin, shares[-1] - shares[-2], rtol=1e-6)


def test_one_program_for_all_that_is_said(model, monkeypatch):
  method, state = model
  traced = []
  monkeypatch.setattr(
    fakes.Method,
    "intervene",
    lambda self, *given, ask=fakes.Method.intervene: (
      traced.append(1) or ask(self, *given)
    ),
  )
  ask = Model(method, state)
  for image in (method.source.images[0], np.zeros((5, 9, 3), np.uint8)):
    ask(image)
    ask(image, Intervention(look=3 * (Box(0, 0, 5, 5),), alpha=0.25))
    ask(image, Intervention(rejected=("red",)))
  assert len(traced) == 1


_BOX = {"top": 1, "left": 2, "bottom": 8, "right": 9}


def _parse(content):
  return intervention.parse(content, fakes.CONCEPTS, (20, 40), "a.json")


def test_what_is_written_is_read():
  said = Intervention(
    look=(Box(1.5, 2, 8, 9), Box(0, 0, 20, 40)),
    ignore=(Box(3, 3, 4, 4),),
    rejected=("red",),
    alpha=0.25,
  )
  assert _parse(json.loads(json.dumps(said.as_json()))) == said
  assert _parse({}) == Intervention()


def test_boxes_are_cut_off_and_names_come_once():
  edge = {"top": -5, "left": 30, "bottom": 10, "right": 400}
  said = _parse({"look": [edge], "rejected": ['bl"ue', "red", "red"]})
  assert said.look == (Box(0, 30, 10, 40),)
  assert said.rejected == fakes.CONCEPTS


@pytest.mark.parametrize(
  ("content", "found"),
  [
    ([], "an intervention is []; it must be an object"),
    ({"lok": []}, "unknown key 'lok' (did you mean 'look'?); there"),
    ({"look": _BOX}, "look is {'top': 1, 'left': 2"),
    ({"look": [[1, 2, 8, 9]]}, "look[0] is [1, 2, 8, 9]; it must be an object"),
    ({"look": [{"top": 1}]}, "look[0] has 'top'; a box has 'top', 'left'"),
    ({"ignore": [_BOX, {}]}, "ignore[1] has no keys"),
    ({"look": [{**_BOX, "top": "1"}]}, "look[0].top is '1'; it must be a"),
    ({"look": [{**_BOX, "top": True}]}, "look[0].top is True; it must be a"),
    ({"look": [{**_BOX, "top": float("nan")}]}, "look[0].top is nan; it must"),
    ({"look": [{**_BOX, "top": 10**400}]}, "it must be finite"),
    ({"look": [{**_BOX, "top": 8}]}, "bottom is 8 and top 8; bottom must be"),
    ({"look": [{**_BOX, "left": 9.5}]}, "right is 9 and left 9.5"),
    (
      {"look": [{"top": 20, "left": 0, "bottom": 30, "right": 5}]},
      "look[0] lies outside of the 40 x 20 pixels of its image",
    ),
    ({"look": 33 * [_BOX]}, "look has 33 boxes; 32 are possible"),
    ({"rejected": "red"}, "rejected is 'red'; it must be a list"),
    ({"rejected": ["rde"]}, "no concept 'rde' (did you mean 'red'?); there"),
    ({"rejected": [{}]}, "no concept {}; there are red"),
    ({"alpha": 1.5}, "alpha is 1.5; it must lie from 0 to 1"),
    ({"alpha": None}, "alpha is None; it must be a number"),
  ],
)
def test_mistakes_are_named(content, found):
  with pytest.raises(UserError) as caught:
    _parse(content)
  assert str(caught.value).startswith("a.json: ")
  assert found in str(caught.value)


@pytest.mark.parametrize(
  ("text", "found"),
  [
    ("{", "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
    ("[]", "holds []; expected an object"),
    ('{"a": 1}', "has the keys 'a'; it must have \"interventions\""),
    ('{"interventions": {}}', "it must be a list"),
    ('{"interventions": [[]]}', "interventions[0] is []"),
    ('{"interventions": [{"image": 3}]}', 'does not say of which "image"'),
  ],
)
def test_a_file_that_is_none(tmp_path, text, found):
  path = tmp_path / "boxes.json"
  path.write_text(text)
  with pytest.raises(UserError) as caught:
    saved.read(path)
  assert str(path) in str(caught.value)
  assert found in str(caught.value)


def _file(path, *interventions):
  path.write_text(json.dumps({"interventions": interventions}))
  return str(path)


def test_a_file_is_applied(tmp_path, monkeypatch, capsys):
  method, *_ = fakes.run(tmp_path / "run", monkeypatch)
  first, second = method.source.name(1), method.source.name(4)
  corner = dict(zip(Box._fields, _CORNER, strict=True))
  boxes = _file(
    tmp_path / "boxes.json",
    {"image": first, "look": [corner], "alpha": 0},
    {"image": second, "rejected": ["red"], "before": {}, "after": "any"},
    {"image": first},
  )
  argv = ["interact", f"--workdir={tmp_path / 'run'}", f"--boxes={boxes}"]
  assert main(argv) == 0
  rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
  expected = [
    (first, {"look": [_CORNER], "alpha": 0.0}, 1),
    (second, {"rejected": ["red"]}, 0),
    (first, {}, 0),
  ]
  for row, (name, said, changed) in zip(rows, expected, strict=True):
    image = method.source.images[1 if name == first else 4]
    before, after = fakes.naive(image), fakes.naive(image, **said)
    assert row["image"] == name
    assert row["class_before"] == fakes.CLASSES[before.argmax()]
    assert row["class_after"] == fakes.CLASSES[after.argmax()]
    assert row["changed"] == str(changed)
    for key, shares in (("before", before), ("after", after)):
      share = float(row[f"probability_{key}"])
      assert_allclose(share, shares.max(), rtol=1e-5)

  output = tmp_path / "deep" / "found.json"
  assert main([*argv, "--format=json", f"--output={output}"]) == 0
  assert capsys.readouterr().out == ""
  (found, *_) = saved.read(output)
  assert found["before"]["class"] == "warm"
  assert found["after"]["class"] == "<b>cold</b>"
  assert found["after"]["concepts"]["red"]["score"] < 0.1
  # What was written is itself a file of interventions.
  assert main(["interact", f"--workdir={tmp_path}", f"--boxes={output}"]) == 0
  out, err = capsys.readouterr()
  assert list(csv.DictReader(out.splitlines())) == rows
  assert err == f"note: {tmp_path} is not trained to its end\n"


def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys):
  method, *_ = fakes.run(tmp_path / "run", monkeypatch)
  name = method.source.name(0)
  bad = {"image": name, "alpha": 2}
  for argv, found in [
    ([f"--boxes={tmp_path / 'none.json'}"], "none.json cannot be read: no"),
    ([f"--boxes={_file(tmp_path / '1', bad)}"], f"image {name!r}: alpha is 2"),
    (
      [f"--boxes={_file(tmp_path / '2', {'image': 'x'})}"],
      "intervention 0: no image 'x' among the 6",
    ),
    ([f"--images={tmp_path / 'none'}"], "no image at"),
    (["--host=256.0.0.1"], "cannot listen on 256.0.0.1"),
  ]:
    assert main(["interact", f"--workdir={tmp_path / 'run'}", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert found in err
    assert err.count("\n") == 1


def test_a_model_without_concepts(tmp_path, monkeypatch, capsys):
  fakes.run(tmp_path / "run", monkeypatch)
  monkeypatch.setattr(fakes.Method, "capabilities", Capabilities())
  assert main(["interact", f"--workdir={tmp_path / 'run'}"]) == 2
  assert capsys.readouterr().err == (
    "error: the method of this run, colours, does not take corrections of a"
    " person or let a person throw out prototypes; methods that do: csr, epic,"
    " protopnet, st_protopnet\n"
  )


def test_csr_is_what_its_prediction_is_put_right():
  config = csr_composites.get_config("debug")
  method = methods.load(config, ("no", "yes", "perhaps"))
  state = starts.begun(method.init)
  rng = np.random.default_rng(0)
  head = jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(np.float32), state.params["head"]
  )
  state = state.replace(params={**state.params, "head": head})
  image = rng.integers(0, 256, (32, 32, 3), np.uint8)
  said = jax.jit(method.predict)(state, {"image": image[None]})
  ask = Model(method, state)
  before = ask(image)
  assert_allclose(before.logits, said["logits"][0], rtol=1e-4, atol=1e-5)
  assert_allclose(
    before.contributions.sum() + head["bias"][before.predicted],
    before.logits[before.predicted],
    rtol=1e-4,
  )
  assert_allclose(before.maps.max((0, 1)), before.concept_scores, rtol=1e-4)
  # Whoever rejects all of it, or looks nowhere, leaves the head's bias.
  nothing = Intervention(rejected=method.network.concept_names)
  nowhere = Intervention(ignore=(Box(0, 0, 32, 32),))
  for after in (ask(image, nothing), ask(image, nowhere)):
    assert_allclose(after.logits, head["bias"], rtol=1e-6)
  # A person who looks at a concept's best cell keeps its score.
  h, w = method.network.grid
  c = int(before.concept_scores.argmax())
  row, column = divmod(int(before.maps[..., c].argmax()), w)
  box = Box(
    32 * row / h, 32 * column / w, 32 * (row + 1) / h, 32 * (column + 1) / w
  )
  after = ask(image, Intervention(look=(box,), alpha=0.0))
  assert_allclose(after.concept_scores[c], before.concept_scores[c], rtol=1e-4)
  assert np.all(after.concept_scores <= before.concept_scores * (1 + 1e-5))
