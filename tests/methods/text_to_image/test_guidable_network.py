"""The embedded model through the protocol of models that can be steered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import text_to_image_folder
from protojax.diffusion import guidable
from protojax.methods.base import needed
from protojax.types import State, UserError

TEXTS = ["a red cup and a blue cat", ""]


@pytest.fixture(scope="module")
def model():
  return needed(
    methods.load(text_to_image_folder.get_config("debug")), "guidable"
  )


@pytest.fixture(scope="module")
def weights(model):
  """Random, also where a network begins with zeros."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(model._method.init, parallel.init_key(0))
  weights = jax.tree.map(
    lambda x: np.float32(0.2 * rng.normal(size=x.shape)), shapes.params
  )
  return model.weights(State({}, {}, {}, {"average": weights}))


@pytest.fixture(scope="module")
def found(model, weights):
  """x, predictions without and with captures, captures of two orders, t."""
  x = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
  t = jnp.array([400.0, 700.0])
  caption = model.caption(TEXTS)

  @jax.jit
  def both(weights, x, t):
    text = model.read(weights, caption)
    plain = model.predict(weights, x, t, text)
    last = model.seen(weights, x, t, text, model.blocks[-1:])[1]
    found = model.seen(weights, x, t, text, model.blocks[::-1])
    return plain, *found, last

  return x, *both(weights, x, t), t


def test_a_forward_pass_gives_prediction_keys_and_words(model, found):
  x, plain, prediction, kept, _, _ = found
  np.testing.assert_allclose(prediction, plain, atol=1e-5)
  rows, columns = model.grid(32, 32, model.blocks)
  tokens = rows * columns
  channels = model._network.transformer.channels
  assert kept.keys.shape == (len(model.blocks), 2, tokens, channels)
  words = model.caption(TEXTS)["tokens"].shape[1]
  assert kept.words.shape == (len(model.blocks), 2, tokens, words)
  np.testing.assert_allclose(kept.words.sum(-1), 1, atol=1e-6)
  # Nothing is said by the second text: all looked at where it begins.
  np.testing.assert_allclose(kept.words[:, 1, :, 0], 1, atol=1e-6)
  assert x.shape == prediction.shape


def test_blocks_come_in_the_order_that_they_are_asked_for_in(model, found):
  _, _, _, kept, last, _ = found
  np.testing.assert_allclose(last.keys[0], kept.keys[0], atol=1e-4)
  np.testing.assert_allclose(last.words[0], kept.words[0], atol=1e-5)
  assert np.abs(kept.keys[0] - kept.keys[1]).max() > 1e-2
  assert model.steered == model.blocks[len(model.blocks) // 2 :]


def test_an_estimate_puts_the_noisy_image_together_again(model, found):
  x, _, prediction, _, _, t = found
  both = guidable.estimate(model, x, prediction, t)
  alpha, sigma = (s[:, None, None, None] for s in model.process.scales(t))
  again = alpha * both.clean + sigma * both.noise
  np.testing.assert_allclose(again, x, atol=1e-5)


def test_places_of_words(model):
  places = model.places
  assert places(TEXTS[0], "red cup") == (2, 3)
  assert places(TEXTS[0], "Cat") == (7,)
  assert places("a cup and a cup", "cup") == (2, 5)
  tokens = np.asarray(model.caption(TEXTS)["tokens"])
  assert tokens[0, 3] == tokens.max(where=tokens == tokens[0, 3], initial=0)


@pytest.mark.parametrize(
  ("call", "said"),
  [
    (lambda m: m.places(TEXTS[0], "dog"), "'dog' does not stand in 'a red cup"),
    (lambda m: m.places(TEXTS[0], "blue cup"), "'blue cup' does not stand"),
    (lambda m: m.grid(30, 32, m.blocks), "30 x 32 do not divide"),
    (lambda m: m.grid(32, 32, ["block_9"]), "no block 'block_9'"),
    (lambda m: m.caption(["a dog"]), "the word 'dog'"),
  ],
)
def test_what_is_not_there_is_said(model, call, said):
  with pytest.raises(UserError, match=said):
    call(model)


def test_images_go_in_and_out(model, weights):
  images = jax.random.uniform(jax.random.key(2), (1, 32, 32, 3), minval=-1)
  x = model.encoded(weights, images)
  np.testing.assert_array_equal(model.decoded(weights, x), images)
