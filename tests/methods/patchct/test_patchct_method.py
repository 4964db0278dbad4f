"""PatchCT's method: its network, stages, labels, answers and explanations."""

import functools

import jax
import numpy as np
import pytest

from protojax import methods, parallel, text
from protojax.configs import patchct_folder
from protojax.data.resizing import SQUASH
from protojax.engine import adopt
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.explain import blocks
from protojax.explain.request import Request
from protojax.methods.patchct import explanation, judging, labels, pictures
from protojax.modify import presets
from protojax.operations import predicting
from protojax.text import bpe, clip, tables
from protojax.text.encoder import TextEncoder
from protojax.types import State, UserError

NAMES = ("dog", "cat", "bus")
PRESET = presets.load("contrast=0.45", "fast", "none")

KEY = parallel.init_key(0)


def config(**changes):
  found = patchct_folder.get_config("debug").unlock()
  found.data.update(train="train:16", test="test:16")
  found.update_from_flattened_dict(changes)
  return found.lock()


@pytest.fixture(scope="module")
def method():
  return methods.load(config(**{"transport.null": 0.3}))


@pytest.fixture(scope="module")
def state(method):
  state = parallel.to_host(jax.jit(method.init)(KEY))
  return method.start(state, method.stream("train"))[0]


@pytest.fixture(scope="module")
def batch(method):
  return next(method.stream("test").batches())


@pytest.fixture(scope="module")
def found(method, state, batch):
  """A forward pass, and similarities with the null prototype."""

  def forward(params, images):
    made, _ = method.network.forward(params, state, {"image": images})
    return made, method.network.similarity(params, made)

  return jax.jit(forward)(state.params, batch["image"])


def test_a_fresh_adapter_changes_no_logit(state, found):
  made, _ = found
  adapter = state.params["adapter"]["expand"]
  assert not any(np.asarray(x).any() for x in adapter.values())
  frequency = 1 / (1 + np.exp(-state.params["classifier"]["bias"]))
  logits = 10 * made.cosines + state.params["classifier"]["bias"]
  np.testing.assert_allclose(made.logits, logits, rtol=1e-5)
  assert 0.1 < frequency < 0.5


def test_classifier_and_transport_read_the_same_embeddings(found, state):
  made, similarity = found
  count = len(made.embeddings[0])
  np.testing.assert_array_equal(made.embeddings[0], made.embeddings[1])
  table = tables.unit(state.params["labels"]["table"])
  np.testing.assert_allclose(made.embeddings[-1], table, rtol=1e-5)
  cosines = np.asarray(made.token) @ np.asarray(table).T
  np.testing.assert_allclose(made.cosines, cosines, atol=1e-5)
  # Two layers, 25 patches, the labels and the null prototype.
  assert similarity.shape == (2, 16, 25, count + 1)
  assert np.abs(similarity).max() <= 1 + 1e-5


def test_the_class_token_shares_the_map_of_the_patches_or_has_its_own(method):
  maps = jax.eval_shape(method.init, KEY).params["maps"]
  assert set(maps) == {
    *("norm_stage_2", "map_stage_2", "norm_last", "map_last")
  }
  other = methods.load(config(**{"head.shared": False}))
  other.dataset = method.dataset
  own = jax.eval_shape(other.init, KEY).params["maps"]
  assert set(own) - set(maps) == {"norm_class", "map_class"}


def test_the_best_patch_is_that_of_the_backward_plan(method, state, found):
  made, similarity = found
  s, cells = method.network.nearest(state, made.patches[-1])
  own = np.asarray(similarity[-1])[..., :-1]
  np.testing.assert_array_equal(cells, own.argmax(axis=1))
  np.testing.assert_allclose(s, own.max(axis=1), atol=1e-6)
  at = method.network.at(state, made.patches[-1], cells)
  np.testing.assert_array_equal(at, s)


def test_compiled_similarities_differ_from_label_to_label():
  """`explain` on one CPU gave all labels those of the first."""
  made = methods.load(config())
  fresh = parallel.to_host(jax.jit(made.init)(KEY))
  fresh, _ = made.start(fresh, made.stream("train"))
  rows = parallel.each(
    functools.partial(explanation._step, made.network, PRESET),
    fresh,
    made.stream("test").batches(),
  )
  _, row = next(iter(rows))
  np.testing.assert_array_equal(row["plan"].argmax(axis=1), row["cell"])


def test_the_bank_holds_the_labels(method, state):
  bank = method.network.bank(state)
  assert bank.vectors.shape == (10, 1, 1, 16)
  np.testing.assert_array_equal(bank.class_of, np.arange(10))


def test_stages_are_those_of_the_config(method):
  assert [s.name for s in method.stages()] == ["start", "align", "train"]
  changes = {"align.epochs": 0, "optimizer.average": 0.9}
  other = methods.load(config(**changes))
  other.dataset = method.dataset
  assert [s.name for s in other.stages()] == ["start", "train", "average"]
  fit = list(other.stages())[1]
  before = {"a": np.float32(0)}
  moved = fit.after_step(
    State({"a": np.float32(1)}, {}, {}, {"average": before})
  )
  assert float(moved.memory["average"]["a"]) == pytest.approx(0.1)
  averaged, _ = other.average(moved, method.stream("train"))
  assert averaged.params == moved.memory["average"]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"transport.cost": "l2"}, "transport.cost='l2': choose cosine or"),
    ({"transport.theta": "random"}, "choose uniform or attention"),
    ({"text.early": "first"}, "choose shared or tower"),
    ({"text.trainable": True}, "need a text tower: name one"),
    (
      {"transport.temperature": 2.0},
      r"transport.temperature is 2.0; it must be",
    ),
    ({"transport.null": 1.0}, "transport.null is 1.0; it must be"),
    ({"loss.transport": -1.0}, "loss.transport is -1.0; it must be"),
    ({"loss.clip": 1.0}, "loss.clip is 1.0; it must be"),
  ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    methods.load(config(**changes))


def test_layers_that_are_not_there_are_refused(method):
  other = methods.load(config(layers=("block_3",)))
  other.dataset = method.dataset
  message = "has no layer block_3; choose from stage_1, .*, or all"
  with pytest.raises(UserError, match=message):
    _ = other.network
  every = methods.load(config(layers=("all",)))
  every.dataset = method.dataset
  assert every.network.levels == ("stage_1", "stage_2", "stage_3")


# Labels of a text tower.


@pytest.fixture(scope="module")
def encoder():
  """A small tower that reads letters."""
  return TextEncoder(
    "small",
    clip.ClipText(8, 2, 2, 6, 514, 40),
    bpe.from_merges((), 40),
    blocks=2,
    width=8,
    channels=6,
    layouts=(clip.layout(2),),
  )


def state_of(made, vectors):
  params, buffers = made.init(jax.random.key(0), 6, 2)
  return State(params, {}, buffers, assets={labels.ASSET: vectors})


def test_a_tower_that_is_not_trained_is_an_asset(encoder):
  made = labels.Labels(NAMES, encoder, early="tower")
  shapes = made.assets[labels.ASSET].shapes()
  rng = np.random.default_rng(0)
  vectors = {k: rng.normal(size=x.shape) for k, x in shapes.items()}
  vectors = {k: np.float32(x) for k, x in vectors.items()}
  state = state_of(made, vectors)
  found = np.asarray(made.embeddings(state.params, state, 2))
  assert found.shape == (3, 3, 6)
  np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-5)
  # CLIP's vectors lie in the common space: the map starts as it is.
  np.testing.assert_allclose(
    found[-1], tables.unit(vectors["final"]), atol=1e-6
  )
  assert not np.allclose(found[0], found[1])
  # Earlier layers have no parameter of their own.
  assert set(state.params) == {"labels"}
  shared = labels.Labels(NAMES, encoder)
  state = state_of(shared, vectors)
  np.testing.assert_array_equal(
    shared.embeddings(state.params, state, 1)[0],
    shared.embeddings(state.params, state, 1)[1],
  )


def test_a_tower_that_is_trained_has_parameters_and_no_asset(encoder):
  made = labels.Labels(NAMES, encoder, trainable=True, early="tower")
  assert not made.assets

  @jax.jit
  def both(key):
    params, buffers = made.init(key, 6, 1)
    state = State(params, {}, buffers)
    tokens = encoder.tokenize(text.prompts(made.template, NAMES))
    final = encoder(params["text"], tokens.ids, tokens.valid).final
    return made.embeddings(params, state, 1), tables.unit(final)

  found, expected = both(jax.random.key(0))
  assert found.shape == (2, 3, 6)
  np.testing.assert_allclose(found[-1], expected, atol=1e-5)


def test_a_table_is_taken_over_for_the_same_labels_alone(tmp_path):
  state = State(
    {"labels": {"table": np.ones((3, 2)), "map": np.ones(4)}}, {}, {}
  )
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(Progress(1, 0), state, {})
  checkpoints.close()
  (tmp_path / "classes.json").write_text('["dog", "cat", "bus"]')
  taken = adopt.fitting(state, str(tmp_path), NAMES)
  assert set(taken) == {"params.labels.map", "params.labels.table"}
  taken = adopt.fitting(state, str(tmp_path), ("bus", "cat", "dog"))
  assert set(taken) == {"params.labels.map"}


# What is said of images, and why.


@pytest.fixture(scope="module")
def explained(method, state):
  request = Request(preset=PRESET, limit=4, nearest=2)
  data = method.stream("test")
  explainer = explanation.EXPLAINER(method)
  return list(explainer.explain(state, data, request))


def test_images_labels_and_the_split_are_explained(explained):
  scopes = [e.scope for e in explained]
  assert scopes == ["local"] * 4 + ["global"] * 10 + ["overview"]
  assert len({e.key for e in explained}) == 15
  for e in explained[:4]:
    kinds = {type(b) for b in e.blocks}
    assert {blocks.Map, blocks.Picture, blocks.Table} <= kinds
    mass = next(b for b in e.blocks if isinstance(b, blocks.Map)).values
    assert mass.shape == (5, 5)
    assert mass.sum() == pytest.approx(1, abs=1e-5)
  label = explained[4]
  gallery = label.blocks[0]
  assert len(gallery.pictures) == 2
  first, second = (float(p.caption.split(": ")[1]) for p in gallery.pictures)
  assert first >= second


def test_because_is_the_similarity_that_is_lost(explained):
  table, note = explained[0].blocks[-2:]
  assert "neither hue nor saturation" in note.text  # The canvases are grey.
  assert table.columns[-2:] == ("identity", "contrast 0.45")
  for row in table.rows:
    assert row[-2] == 0
    assert np.isfinite(row[-1])


def test_a_grey_image_has_no_colour_to_lose():
  preset = presets.load("reference", "fast", "none")
  had = dict(zip(preset.names, preset.seen(True), strict=True))
  assert {n for n, x in had.items() if not x} == {"hue", "saturation"}
  assert preset.seen(False).all()


def test_images_of_a_user_need_no_labels(method, state, batch):
  plain = {k: batch[k] for k in ("image", "index", "valid")}

  class Data:
    source = method.stream("test").source
    image_size, resizing = 36, SQUASH
    examples = staticmethod(method.stream("test").examples)

    def __len__(self):
      return 2

    def spread(self, limit):
      assert limit == 2
      return iter([{**plain, "valid": np.arange(16) < 2}])

  request = Request(preset=PRESET, scope="local", split="images")
  explainer = explanation.EXPLAINER(method)
  found = list(explainer.explain(state, Data(), request))
  assert [e.scope for e in found] == ["local"] * 2
  notes = [b for b in found[0].blocks if isinstance(b, blocks.Note)]
  assert len(notes) == 1  # That the image is grey; of labels nothing is known.


def test_segments_are_painted_over_the_image(method):
  image = np.full((36, 36, 3), 100, np.uint8)
  segments = np.full(25, -1)
  segments[0] = 2
  picture, table = pictures.segmentation(
    image, segments, [2, 4], method.network.class_names, method.network
  )
  assert (picture.image[0, 0] == [160, 75, 74]).all()
  assert (picture.image[20, 20] == 100).all()
  assert table.rows[0] == ("two", "red", 1 / 25)


def test_labels_of_a_prediction_are_ranked():
  row = {"probabilities": np.float32([0.2, 0.9, 0.6])}
  tags = type("Tags", (), {"class_names": NAMES, "threshold": 0.5})
  describe, columns, as_rows = predicting._ANSWERS["tags"]
  assert columns == ("image", "label", "probability", "rank", "present")
  for top, count in ((1, 2), (3, 3), (0, 2)):
    found = {"image": "a.png", **describe(tags, None, row, top)}
    rows = list(as_rows(found))
    assert len(rows) == count
    assert rows[0][:2] == ("a.png", "cat")
    assert [r[-1] for r in rows[:2]] == [1, 1]
  assert list(found["probabilities"]) == list(NAMES)


def test_pointing_is_judged_by_the_boxes():
  grid = judging.centres((2, 2))
  np.testing.assert_allclose(grid[1], [0.25, 0.75])
  found = {
    "labels": np.array([[1, 1, 0]]),
    "cells": np.array([[0, 0, 3]]),
    "boxes": [np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], np.float32)],
    "classes": [np.array([0, 1])],
  }
  metrics = judging._pointing(found, (2, 2))
  assert metrics == {"pointing": 0.5, "pointing_chance": 0.25}
