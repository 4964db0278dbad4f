"""What agents of the embedded world learn, on the debug config."""

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.agents import painting, scenes
from protojax.agents import world as worlds
from protojax.agents.facts import YES, Place
from protojax.agents.scenes import Fact, Grammar
from protojax.configs import proactive_agents_scenes
from protojax.methods.proactive_agents import counts
from protojax.types import State, UserError

pytest.importorskip("skimage", reason="needs the demo extra")


class Untold:
  """Two pictures of which nothing is told."""

  class_names, skipped, labels = (), (), np.zeros(2, np.int32)

  def __len__(self):
    return 2

  def __getitem__(self, i):
    return {}

  def name(self, i):
    return str(i)


@pytest.fixture(scope="module")
def method():
  return methods.load(proactive_agents_scenes.get_config("debug"))


@pytest.fixture(scope="module")
def state(method):
  """Random; nothing is compiled."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(method.init, parallel.init_key(0))
  params = jax.tree.map(
    lambda x: np.float32(0.4 * rng.normal(size=x.shape)), shapes.params
  )
  statistics = jax.tree.map(
    lambda x: np.ones(x.shape, np.float32), shapes.statistics
  )
  buffers = {
    "counts": counts.counted(Grammar(method.scenes("train"))),
    "temperature": np.float32(1.5),
    "policy": np.zeros(shapes.buffers["policy"].shape, np.float32),
  }
  return State(params, statistics, buffers)


def test_the_splits_hold_other_scenes(method):
  found = {s: method.scenes(s) for s in ("train", "validation", "test")}
  assert [x.size for x in found.values()] == [48, 16, 16]
  places = np.concatenate([x.at for x in found.values()])
  assert len(np.unique(places.reshape(len(places), -1), axis=0)) == 80


def test_pictures_are_those_of_their_scenes(method):
  batch = next(method.stream("validation").batches())
  expected = painting.paint(method.scenes("validation"))
  at = batch["index"][batch["valid"]]
  np.testing.assert_array_equal(batch["image"][batch["valid"]], expected[at])


def test_counts_come_back_as_the_grammar():
  weights = scenes.Weights(
    {t: 0.1 + 0.1 * i for i, t in enumerate(scenes.TYPES)},
    {"colour": 1.0, "size": 0.5, "texture": 0.25},
    {"background": 0.9, "style": 0.4},
    0.7,
  )
  grammar = Grammar(scenes.draw(300, seed=1), weights)
  found = counts.grammar(counts.counted(grammar))
  facts = [Fact(Place("cup"), YES), Fact(Place("cat"), YES)]
  one, other = (g.belief(facts) for g in (grammar, found))
  assert [e.name for e in one.entities] == [e.name for e in other.entities]
  for a, b in zip(one.entities, other.entities, strict=True):
    assert a.importance == pytest.approx(b.importance, rel=1e-6)
    assert a.attributes[0].candidates == b.attributes[0].candidates
  assert one.relations[0].candidates == other.relations[0].candidates
  shapes = jax.tree.map(np.shape, counts.counted(grammar))
  assert shapes == jax.tree.map(np.shape, counts.empty(300))


def test_an_answer_does_not_depend_on_the_other_questions(method, state):
  net = method.network
  images = next(method.stream("test").batches())["image"][:2]

  @jax.jit
  def answers(cells):
    seen, _ = net.seen(state.params, state.statistics, images)
    return net.answers(state.params, seen, cells), net.vectors(
      state.params, seen
    )

  cells = np.array([[3, 30, 200], [3, 31, 210]])
  one, vectors = answers(cells)
  other, _ = answers(cells[:, ::-1].copy())
  np.testing.assert_allclose(one, other[:, ::-1], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, rtol=1e-5)
  every, _ = jax.jit(net.all_answers)(state, images)
  np.testing.assert_allclose(
    np.take_along_axis(np.asarray(every), cells, 1), one, rtol=1e-4, atol=1e-5
  )


def test_a_run_is_a_judge(method, state):
  trained = method.trained(state, "a run")
  images = painting.paint(method.scenes("test"))[:3]
  p, vectors = trained.judge.seen(images)
  assert p.shape == (3, worlds.CELLS)
  assert ((p > 0) & (p < 1)).all()
  assert vectors.shape == (3, 4)
  (told,) = trained.judge.p_yes(images[:1], ["a cup"])
  assert told == pytest.approx(p[0, scenes.TYPES.index("cup")])
  assert trained.grammar.scenes.size == 48


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("data.image_size", 32, "painted with 64 pixels"),
    ("data.validation_fraction", 0.0, "calibrated on held-out scenes"),
    ("data.train", "all", "as in train:2000"),
    ("network.channels", (), "is empty"),
  ],
)
def test_settings_that_do_not_fit_are_refused(key, value, message):
  config = proactive_agents_scenes.get_config("debug").unlock()
  group, name = key.split(".")
  config[group][name] = value
  with pytest.raises(UserError, match=message):
    methods.load(config).scenes("train")


def test_pictures_that_nobody_tells_of_are_refused():
  method = methods.load(proactive_agents_scenes.get_config("debug"))
  method.dataset.sources["train"] = Untold()
  with pytest.raises(UserError, match="take dialogue_scenes"):
    method.scenes("train")
