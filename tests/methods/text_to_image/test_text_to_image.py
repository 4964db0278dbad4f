"""Images by text on the debug config: captions, attention, drawing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import text_to_image_folder
from protojax.methods.base import needed
from protojax.methods.generating import Illustrates
from protojax.methods.text_to_image import captions
from protojax.methods.text_to_image.network import unsaid
from protojax.types import State, UserError

PROMPTS = ["a red cup", "a blue striped cat and a green wheel", "an orange cat"]
SMALL = {"prompt": PROMPTS, "steps": 2, "guidance": 1.5}


@pytest.fixture(scope="module")
def method():
  return methods.load(text_to_image_folder.get_config("debug"))


@pytest.fixture(scope="module")
def state(method):
  """Random, also where a network begins with zeros; nothing is compiled."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(method.init, parallel.init_key(0))
  weights = jax.tree.map(
    lambda x: np.float32(0.2 * rng.normal(size=x.shape)), shapes.params
  )
  return State(weights, {}, {}, {"average": weights})


@pytest.fixture(scope="module")
def seen(method, state):
  """Function: captions as numbers -> prediction and attention to words."""
  net = method.network
  noise = jax.random.normal(jax.random.key(1), (3, 32, 32, 3))

  @jax.jit
  def answer(caption):
    text = net.read(state.params, caption)
    t = jnp.full(3, 400.0)
    return net.seen(state.params, noise, t, text, ("text_attention",))

  return answer


@pytest.fixture(scope="module")
def caption(method):
  return captions.tokens(PROMPTS, method.vocabulary)


@pytest.fixture(scope="module")
def drawn(method, state):
  generates = needed(method, "generates")
  return generates.generate(state, SMALL, parallel.key(5), 3)


def test_attention_to_words_sums_to_one_and_passes_over_padding(seen, caption):
  _, kept = seen(caption)
  found = np.asarray(kept["text_attention"])
  assert found.shape == (2, 3, 16, 16)
  np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)
  padding = ~caption["valid"]
  assert (found[:, padding[:, None].repeat(16, 1)] == 0).all()
  assert (found[:, ~padding[:, None].repeat(16, 1)] > 0).all()


def test_what_stands_in_padding_changes_nothing(seen, caption):
  other = np.where(caption["valid"], caption["tokens"], 7)
  first, second = (
    np.asarray(seen({**caption, "tokens": x})[0])
    for x in (caption["tokens"], other)
  )
  np.testing.assert_array_equal(first, second)
  swapped = {k: x[::-1].copy() for k, x in caption.items()}
  assert np.abs(np.asarray(seen(swapped)[0])[0] - first[0]).max() > 1e-3


def test_a_caption_that_is_left_out_is_one_without_words(seen, caption, method):
  silent = {
    k: np.asarray(x) for k, x in unsaid(caption, np.ones(3, bool)).items()
  }
  nothing = captions.tokens(["", "", ""], method.vocabulary)
  np.testing.assert_array_equal(seen(silent)[0], seen(nothing)[0])
  some = unsaid(caption, np.array([True, False, False]))
  np.testing.assert_array_equal(some["valid"][1:], caption["valid"][1:])
  assert np.asarray(some["valid"][0]).sum() == 1


def test_an_image_depends_on_key_number_and_text(method, state, drawn):
  generates = needed(method, "generates")
  assert drawn.shape == (3, 32, 32, 3)
  assert drawn.std() > 10
  later = {**SMALL, "prompt": [PROMPTS[2], "a cat", "a cat"]}
  others = generates.generate(state, later, parallel.key(5), 3, start=2)
  np.testing.assert_allclose(others[0].astype(int), drawn[2], atol=1)
  one = {**SMALL, "prompt": PROMPTS[0]}
  same = generates.generate(state, one, parallel.key(5), 3)
  np.testing.assert_allclose(same[0].astype(int), drawn[0], atol=1)
  assert (same[1] != drawn[1]).mean() > 0.05


def test_without_a_prompt_test_captions_take_turns(method):
  generates = needed(method, "generates")
  assert isinstance(generates, Illustrates)
  known = method.dataset.source("test").plain.captions
  assert generates.texts(None, 3, start=15) == [known[15], *known[:2]]


@pytest.mark.slow
def test_where_each_word_was_looked_at_is_told(method, state, drawn):
  generates = needed(method, "generates")
  images, found = generates.traced(state, SMALL, parallel.key(5), 3)
  np.testing.assert_allclose(images.astype(int), drawn, atol=1)
  words = found["words"]
  assert words.shape == (3, 16, 4, 4)
  np.testing.assert_allclose(words.sum(1), 1, atol=1e-5)
  assert (words[0, 4:] == 0).all()


@pytest.mark.parametrize(
  ("conditions", "said"),
  [
    ({"prompt": "a crimson cup"}, "'crimson' of the text 'a crimson cup'"),
    ({"prompt": "a " * 16}, "has 16 words; this model reads 15 at most"),
    ({"prompt": ["a cup"]}, "1 prompts for 3 images"),
    ({"guidance": -1}, r"guidance -1: .* \(the text is ignored\)"),
    ({"label": 1}, "no condition label: images are drawn by prompt"),
  ],
)
def test_what_cannot_be_drawn_is_told(method, state, conditions, said):
  generates = needed(method, "generates")
  with pytest.raises(UserError, match=said):
    generates.generate(state, {**SMALL, **conditions}, parallel.key(5), 3)


@pytest.mark.parametrize(
  ("key", "value", "said"),
  [
    ("space.channels", 2, "images have 3"),
    ("text.channels", 15, "multiple of"),
    ("network.channels", 30, "multiple of 4"),
    ("network.patch", 5, "does not divide"),
    ("process.kind", "ode", "choose from 'flow', 'ddpm'"),
    ("data.name", "digits", "its images have no captions"),
  ],
)
def test_settings_that_do_not_fit_are_refused(key, value, said):
  config = text_to_image_folder.get_config("debug").unlock()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(UserError, match=said):
    methods.load(config).dataset.source("train")
