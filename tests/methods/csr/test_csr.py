"""CSR: what each stage moves, what corrections do, and what is told of it."""

import dataclasses
import functools

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest
from scipy import special

from configs import csr_composites
from protojax import methods, parallel
from protojax.data.places import Places
from protojax.engine import descent
from protojax.engine import stage as stages
from protojax.engine.cached import Cached
from protojax.methods import base
from protojax.prototypes import push
from protojax.prototypes.explainable import Explainable
from protojax.types import UserError
from tests import starts
from tests.common import terms
from tests.conftest import ArraySource

CONCEPTS = ("red", "left", "bright")


class Concepts(ArraySource):
  """Images in memory with three concepts, each in one half."""

  concept_names = CONCEPTS

  @property
  def concepts(self):
    return np.random.default_rng(len(self)).random((len(self), 3)) < 0.5

  def places(self, i):
    shown = np.flatnonzero(self.concepts[i])
    return Places(shown, np.tile([0, 0, 1, 0.5], (len(shown), 1)))


SOURCES = {"train": Concepts(24, 32), "test": Concepts(12, 32, seed=1)}


@functools.cache
def make(**changes):
  config = csr_composites.get_config("debug").unlock()
  config.update_from_flattened_dict(
    {
      "backbone.name": "tests.toys.twoconv",
      "batch_size": 12,
      "data.concepts": CONCEPTS,
      "prototypes.channels": 8,
      "prototypes.per_concept": 2,
      "prototypes.rounds": 1,
      **changes,
    }
  )
  method = methods.load(config.lock(), SOURCES["train"].class_names)
  method.dataset.sources.update(SOURCES)
  return method


@functools.cache
def start():
  """The state after all stages, each cut to a few steps."""
  method = make()
  state = starts.begun(method.init)
  moved = {}
  for number, stage in enumerate(method.stages()):
    before = state
    state = run(stage, state)
    moved[f"{number} {stage.name}"] = groups(before, state)
  return state, moved


def run(stage, state):
  if isinstance(stage, stages.Pass):
    return stage.sweep(state, stage.data)[0]
  short = dataclasses.replace(stage, length=stages.steps(2))
  moments = short.optimizer.init(state.params)
  updates = descent.fit(short, state, moments, parallel.key(1))
  return [parallel.to_host(update) for update in updates][-1].state


def groups(before, after):
  """Groups of parameters and buffers in which anything changed."""
  return {
    name
    for tree in ("params", "buffers")
    for name, old in getattr(before, tree).items()
    if not all(
      np.array_equal(a, b)
      for a, b in zip(
        jax.tree.leaves(old),
        jax.tree.leaves(getattr(after, tree)[name]),
        strict=True,
      )
    )
  }


def images(split="test"):
  return next(make().stream(split).batches())["image"]


def intervened(method, state, rejected):
  """The test images with everything important and some concepts rejected."""
  network, batch = method.network, images()
  ones = np.ones((len(batch), *network.grid), np.float32)
  rejections = np.tile(rejected, (len(batch), 1))
  told = jax.jit(network.intervene)(state, batch, ones, rejections)
  return jax.tree.map(np.asarray, told)


predict = jax.jit(make().predict)


def test_each_stage_moves_its_own():
  _, moved = start()
  learned = {"projector", "prototypes"}
  assert moved == {
    "0 start": set(),
    "1 concepts": {"concepts"},
    "2 warm": learned,
    "3 k-means": {"prototypes"},
    "4 prototypes": learned,
    "5 atlas": {"provenance", "vectors", "absent"},
    "6 task head": {"head"},
  }


def test_rounds_move_idle_prototypes_between_them():
  names = [s.name for s in make(**{"prototypes.rounds": 3}).stages()]
  assert names.count("prototypes") == 3
  assert names.count("re-seed") == 2
  state, _ = start()
  prototypes = np.array(state.params["prototypes"]["prototypes"])
  # The second of each concept is where no vector is.
  prototypes[1::2] = -prototypes[::2]
  params = {**state.params, "prototypes": {"prototypes": prototypes}}
  method = make()
  moved, found = method.move_unused(
    state.replace(params=params), method.stream("train")
  )
  assert found == {"moved": 3}
  moved = moved.params["prototypes"]["prototypes"]
  lengths = np.linalg.norm(moved[::2], axis=-1, keepdims=True)
  assert_allclose(lengths, 1, atol=1e-5)
  assert np.all(moved[1::2] != prototypes[1::2])


def test_kept_features_change_no_step():
  state, _ = start()
  *_, found = make().stages()
  kept = run(found, state)
  too_large = Cached(found.cached.function, limit=0)
  plain = run(dataclasses.replace(found, cached=too_large), state)
  jax.tree.map(
    functools.partial(assert_allclose, atol=2e-5), kept.params, plain.params
  )


def test_the_atlas_is_fresh_until_what_embeds_changes():
  state, _ = start()
  assert not push.stale(state)
  params = dict(state.params)
  params["projector"] = jax.tree.map(lambda x: x + 1, params["projector"])
  assert push.stale(state.replace(params=params))
  counts = np.asarray(state.buffers["vectors"]).reshape(3, 2).sum(axis=1)
  assert_array_equal(counts, SOURCES["train"].concepts.sum(axis=0))
  image = state.buffers["provenance"].image
  own = SOURCES["train"].concepts[image, state.buffers["class_of"]]
  assert own.all()


def test_full_importance_is_the_prediction():
  state, _ = start()
  assert base.able(make(), "intervenes") is make().network
  told = intervened(make(), state, np.zeros(3, bool))
  plain = jax.tree.map(np.asarray, predict(state, {"image": images()}))
  assert_allclose(told["logits"], plain["logits"], atol=1e-5)
  assert_allclose(told["probabilities"].sum(axis=1), 1, atol=1e-5)
  answer = np.argmax(plain["logits"], axis=1)
  bias = state.params["head"]["bias"][answer]
  # Contributions of the concepts are the points of their prototypes.
  points = plain["points"].reshape(-1, 3, 2).sum(axis=2)
  assert_allclose(told["contributions"], points, atol=1e-5)
  assert_allclose(
    points.sum(axis=1) + bias, plain["logits"].max(axis=1), atol=1e-5
  )
  assert_allclose(
    told["maps"].max(axis=(1, 2)), told["concept_scores"], atol=1e-5
  )


def test_what_explanations_read_adds_up_to_the_prediction():
  state, _ = start()
  network = make().network
  assert isinstance(network, Explainable)
  told = jax.tree.map(np.asarray, predict(state, {"image": images()}))
  nothing = np.zeros((12, *network.grid, 8), np.float32)
  scores = network.scores(state, nothing, told["similarities"])
  logits = scores @ network.weights(state).T + network.bias(state)[None]
  assert_allclose(logits, told["logits"], atol=1e-5)
  assert network.groups == ("concept", CONCEPTS)
  notes = network.notes(state)
  assert [int(note["vectors"]) for note in notes] == list(
    state.buffers["vectors"]
  )


def test_rejecting_all_leaves_the_bias_or_the_means():
  state, _ = start()
  bias, weight = (state.params["head"][name] for name in ("bias", "weight"))
  for reject, expected in (
    ("zero", bias),
    ("absent_mean", bias + weight @ state.buffers["absent"]),
  ):
    told = intervened(make(reject=reject), state, np.ones(3, bool))
    assert_allclose(told["logits"], np.tile(expected, (12, 1)), atol=1e-5)


def test_dropout_rejects_what_a_person_might():
  state, _ = start()
  sure = make(**{"task.concept_dropout": 0.999999, "reject": "zero"})
  *_, task = sure.stages()
  batch = next(make().stream("train").batches())
  scores = {"scores": np.ones((12, 6), np.float32)}
  found, _ = jax.jit(task.loss)(
    state.params, state, {**batch, **scores}, terms.now()
  )
  # All concepts are gone: what is left is the bias.
  shares = special.log_softmax(state.params["head"]["bias"])
  expected = -np.mean(shares[batch["label"]])
  assert_allclose(terms.total(found), expected, rtol=1e-5)


def test_thrown_out_prototypes_say_nothing():
  state, _ = start()
  method = make(**{"refine.remove": (0, 3), "init_from": "a run"})
  names = [s.name for s in method.stages()]
  assert names == ["refine", "atlas", "task head"]
  refined, found = method.refine(state, method.stream("train"))
  assert found == {"alive": 4}
  assert not refined.params["head"]["weight"].any()
  weight = np.ones_like(state.params["head"]["weight"])
  head = {"weight": weight, "bias": state.params["head"]["bias"]}
  refined = refined.replace(params={**refined.params, "head": head})
  told = jax.tree.map(np.asarray, predict(refined, {"image": images()}))
  left = np.maximum(told["similarities"], 0)[:, [1, 2, 4, 5]].sum(axis=1)
  assert_allclose(told["logits"], left[:, None] + head["bias"], atol=1e-5)
  best = method.network.best(refined, told["similarities"])
  assert not np.isin(best, (0, 3)).any()


def test_metrics_are_of_classes_concepts_and_places():
  state, _ = start()
  measured = make().evaluate(state, "test")
  assert set(measured) == {
    "accuracy",
    "macro_f1",
    "cross_entropy",
    "concept_auc",
    "concept_f1",
    "pointing",
    "map_pointing",
  }
  summary = make().summary(state, [])
  assert summary["alive"] == summary["prototypes"] == 6
  assert 0 < summary["used"] <= 6
  assert summary["concept_names"] == list(CONCEPTS)


def test_wrong_settings_get_one_line():
  for key, value, message in (
    ("reject", "nothing", "reject is 'nothing'; choose one of zero"),
    ("task.concept_dropout", 1.0, "concept_dropout is 1.0"),
    ("prototypes.per_concept", 0, "per_concept is 0; .* from 1 to"),
  ):
    with pytest.raises(UserError, match=message):
      make(**{key: value})
  state, _ = start()

  def refine(remove, init_from):
    method = make(**{"refine.remove": remove, "init_from": init_from})
    method.refine(state, method.stream("train"))

  with pytest.raises(UserError, match="found 9"):
    refine((9,), "a run")
  with pytest.raises(UserError, match="found no such run"):
    refine((1,), "")


def test_concepts_must_be_those_of_the_data():
  config = csr_composites.get_config("debug").unlock()
  config.data.concepts = ("coin", "moon")
  with pytest.raises(UserError, match="is coin, moon; these data have coin"):
    methods.load(config.lock()).stream("train")
