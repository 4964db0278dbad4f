"""VSC on the debug config: its base, what is trained, what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_digits, text_to_image_folder, vsc_folder
from protojax.diffusion.drawing import Draw
from protojax.engine import workdir
from protojax.engine.terms import Now
from protojax.methods.base import needed
from protojax.types import State, UserError

PROMPTS = ["a red cup and a blue striped cat", "a cup", "an orange wheel"]
SMALL = {"prompt": PROMPTS, "steps": 2, "guidance": 1.5}


def _config(variants="debug", **changed):
  config = vsc_folder.get_config(variants)
  with config.unlocked():
    config.update_from_flattened_dict(changed)
  return config


@pytest.fixture(scope="module")
def method():
  return methods.load(_config())


def _random(shapes, seed):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: np.float32(0.2 * rng.normal(size=x.shape)), shapes
  )


@pytest.fixture(scope="module")
def state(method):
  """All weights random, but the last layer of the fusion, which is zero."""
  shapes = jax.eval_shape(method.init, parallel.init_key(0))
  params = _random(shapes.params, 0)
  params["fusion"]["out"] = jax.tree.map(np.zeros_like, params["fusion"]["out"])
  average = {name: params[name] for name in ("upper", "fusion")}
  base = _random(method.assets["base"].shapes(), 1)
  rng = np.random.default_rng(2)
  kept = method.assets["references"].shapes()
  kept = jax.tree.map(lambda x: np.float32(rng.random(x.shape)), kept)
  kept["weights"] /= kept["weights"].sum(axis=-1, keepdims=True)
  assets = {"base": base, "references": kept}
  return State(params, {}, {}, {"average": average}, assets=assets)


def _trained(state):
  """With a fusion that does something."""
  now = dict(state.memory["average"])
  now["fusion"] = _random(now["fusion"], 3)
  return state.replace(params={**state.params, **now}, memory={"average": now})


@pytest.fixture(scope="module")
def drawn(method, state):
  """By the base alone."""
  base = methods.load(text_to_image_folder.get_config("debug"))
  weights = state.assets["base"]
  own = State(weights, {}, {}, {"average": weights})
  generates = needed(base, "generates")
  return generates.generate(own, SMALL, parallel.key(5), 3)


def _assert_same(found, expected):
  """But for the rounding of another program."""
  apart = np.abs(found.astype(int) - expected)
  assert apart.max() <= 1
  assert (apart > 0).mean() < 1e-3


@pytest.mark.slow
def test_a_fusion_that_begins_draws_as_the_base(method, state, drawn):
  generates = needed(method, "generates")
  found = generates.generate(state, SMALL, parallel.key(5), 3)
  _assert_same(found, drawn)


@pytest.mark.slow
def test_what_is_told_changes_its_images_alone(method, state, drawn):
  generates = needed(method, "generates")
  trained = _trained(state)
  found = generates.generate(trained, SMALL, parallel.key(5), 3)
  _assert_same(found[1], drawn[1])
  assert (found[0] != drawn[0]).mean() > 0.1
  assert (found[2] != drawn[2]).mean() > 0.1
  nothing = {**SMALL, "pairs": np.zeros((1, 2), bool)}
  silent = generates.generate(trained, nothing, parallel.key(5), 3)
  _assert_same(silent, drawn)
  key = parallel.key(5)
  references = generates.references(trained, SMALL, key, 3)
  said = ["a blue striped cat", "a red cup", "an orange wheel"]
  assert sorted(references) == said
  for each in references.values():
    assert each.images.shape == (1, 2, 32, 32, 3)
    np.testing.assert_allclose(each.weights.sum(), 1)
    assert each.weights[0].argmax() == each.scores[0].argmax()
  images, traced = generates.traced(trained, SMALL, key, 3)
  np.testing.assert_allclose(images.astype(int), found, atol=1)
  np.testing.assert_allclose(traced["words"].sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_the_half_without_text_is_never_fused(method, state):
  """At guidance 0 it alone draws, and what is told does not count."""
  asked = {**SMALL, "guidance": 0}
  found = [
    needed(method, "generates").generate(own, asked, parallel.key(5), 3)
    for own in (state, _trained(state))
  ]
  np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_one_reference_is_its_prototype(method, state):
  rng = np.random.default_rng(4)
  images = jnp.asarray(rng.integers(0, 256, (2, 1, 32, 32, 3)), jnp.uint8)
  net = method.network
  below = net.below(state.params, images[:, 0])
  vectors = net.vectors(state.params, below)
  found = net.prototypes(state.params, below[:, None], jnp.ones((2, 1)))
  np.testing.assert_array_equal(found, vectors)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["debug", "debug,frozen"])
def test_what_is_frozen_does_not_move(method, state, variant):
  own = methods.load(_config(variant))
  batch = next(iter(method.stream("train").batches()))
  now = Now(parallel.key(0), jnp.int32(0), jnp.float32(0))
  state = _trained(state)

  def loss(params, given):
    terms, _ = own.loss(params, state, given, now)
    return sum(t.weight * t.total / t.count for t in terms.values())

  slope = jax.jit(jax.grad(loss))(state.params, batch)
  *_, stage = own.stages()
  moments = stage.optimizer.init(state.params)
  moved, _ = stage.optimizer.update(slope, moments, state.params)
  size = {
    name: max(float(np.abs(x).max()) for x in jax.tree.leaves(tree))
    for name, tree in moved.items()
  }
  free = {"fusion"} if "frozen" in variant else {"fusion", "upper"}
  assert {name for name, x in size.items() if x} == free


def test_pairs_are_in_the_batch(method):
  source = method.dataset.source("train")
  one = source[0]
  count = len(one["things"]["masks"])
  assert len(one["said"]) == count
  assert set(one["owner"]) == set(range(count + 1))
  texts = list(method.sayings)
  assert all(texts[i] in source.caption(0) for i in one["said"])


def _folder(tmp_path, config):
  workdir.claim(tmp_path, config, methods.later)
  return str(tmp_path)


def test_a_base_of_another_method_is_refused(tmp_path):
  folder = _folder(tmp_path, promoe_digits.get_config("debug"))
  with pytest.raises(UserError, match="is a run of promoe; expected one of"):
    methods.load(_config(base=folder))


def test_a_base_of_other_sizes_is_refused(tmp_path):
  theirs = text_to_image_folder.get_config("debug")
  with theirs.unlocked():
    theirs.network.depth = 6
  folder = _folder(tmp_path, theirs)
  with pytest.raises(UserError, match=r"network\.depth: 6 there, 2 here"):
    methods.load(_config(base=folder))


def test_no_base_at_all_is_refused(tmp_path):
  with pytest.raises(UserError, match="holds no run"):
    methods.load(_config(base=str(tmp_path / "none")))


def test_a_run_needs_its_base_no_more(tmp_path):
  """Its words and the base's weights lie beside it."""
  words = "a", "red", "cup"
  method = methods.load(_config(base=str(tmp_path / "none")), words)
  assert method.vocabulary.words == words


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("references.keep", 3, "keep=3: of the .*count=2 references"),
    ("references.told", "all", "told='all': choose from 'own', 'others'"),
    ("pairs.most", 0, "pairs.most is 0"),
  ],
)
def test_settings_that_do_not_fit_are_refused(key, value, message):
  with pytest.raises(UserError, match=message):
    methods.load(_config(**{key: value}))


@pytest.mark.parametrize(
  ("pairs", "shape"), [(np.ones((2, 2)), "2, 2"), (np.ones((1, 9)), "1, 9")]
)
def test_pairs_that_are_not_there_cannot_be_told(method, pairs, shape):
  generates = needed(method, "generates")
  asked = {**SMALL, "pairs": pairs}
  draw = Draw(State({}, {}, {}), asked, parallel.key(0), 3, 0)
  with pytest.raises(UserError, match=rf"pairs of shape \[{shape}\] for 3"):
    generates.asked(draw)
