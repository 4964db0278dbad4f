"""A model to steer whose score is known, with a network of two layers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from protojax.diffusion import processes, regions
from protojax.diffusion.guidable import Captured
from protojax.diffusion.processes import Diffusion, Process
from protojax.diffusion.steering import Texts
from protojax.diffusion.transformer import Text

SIDE, PATCH, CHANNELS, WORDS = 8, 2, 12, 5
MEAN, DEVIATION = 0.3, 0.6
PROCESS = Diffusion(schedule="scaled")


@dataclasses.dataclass(frozen=True)
class Toy:
  """Pixels are independent and normal; keys and words are of patches.

  The second word of a text, if valid, moves the mean: a condition.
  """

  process: Process = PROCESS
  stride: int = 1
  blocks: tuple[str, ...] = ("first", "second")
  steered: tuple[str, ...] = ("first", "second")

  @functools.cached_property
  def arrays(self):
    rng = np.random.default_rng(0)
    width = 3 * PATCH**2
    return {
      "first": jnp.asarray(rng.normal(size=(2, width, 16)) / 3, jnp.float32),
      "keys": jnp.asarray(rng.normal(size=(2, 16, CHANNELS)) / 3, jnp.float32),
      "words": jnp.asarray(rng.normal(size=(2, 16, WORDS)), jnp.float32),
    }

  def grid(self, height, width, blocks):
    del blocks
    return height // PATCH, width // PATCH

  def times(self, steps):
    return self.process.times(steps)

  def weights(self, state):
    del state
    return self.arrays

  def caption(self, texts):
    ids = np.zeros((len(texts), WORDS), np.int32)
    return {"tokens": ids, "valid": np.ones(ids.shape, bool)}

  def places(self, text, words):
    return (text.split().index(words) + 1,)

  def read(self, weights, caption):
    tokens = jnp.asarray(caption["tokens"], jnp.float32)[..., None]
    return Text(tokens, jnp.asarray(caption["valid"]))

  def encoded(self, weights, images, keys=None):
    del weights, keys
    return images

  def decoded(self, weights, x):
    del weights
    return x

  def predict(self, weights, x, t, text):
    del weights
    alpha, sigma = (s[:, None, None, None] for s in self.process.scales(t))
    mean = MEAN + text.tokens[:, 1, 0][:, None, None, None]
    noise = sigma * (x - alpha * mean) / (alpha**2 * DEVIATION**2 + sigma**2)
    clean = (x - sigma * noise) / jnp.maximum(alpha, 1e-6)
    both = processes.Estimate(clean, noise)
    return processes.predicted(self.process, self.process.prediction, both, t)

  def seen(self, weights, x, t, text, blocks):
    at = np.array([self.blocks.index(name) for name in blocks])
    side = x.shape[1] // PATCH, x.shape[2] // PATCH
    tokens = x.reshape(len(x), side[0], PATCH, side[1], PATCH, -1)
    tokens = jnp.moveaxis(tokens, 2, 3).reshape(len(x), side[0] * side[1], -1)
    hidden = jnp.tanh(jnp.einsum("blp,nph->nblh", tokens, weights["first"]))
    keys = jnp.einsum("nblh,nhd->nbld", hidden, weights["keys"])
    words = jnp.einsum("nblh,nhw->nblw", hidden, weights["words"])
    kept = Captured(keys[at], jax.nn.softmax(words, axis=-1)[at])
    return self.predict(weights, x, t, text), kept


def texts(count, condition=0.0):
  """Of an example, of what is drawn in a condition, and of nothing."""
  said = jnp.zeros((count, WORDS, 1))
  valid = jnp.ones((count, WORDS), bool)
  wanted = said.at[:, 1].set(condition)
  return Texts(Text(said, valid), Text(wanted, valid), Text(said, valid))


def objects(count=2, most=3):
  """Two boxes of two categories in each image, and room for more."""
  boxes = np.array([[0.0, 0, 4, 5], [3, 4, 8, 8]])
  places = regions.on_grid(boxes, (SIDE, SIDE), (4, 4))
  cells = regions.in_cells(boxes, 1, (SIDE, SIDE), 0.1)
  words = np.zeros((count, 2, WORDS), bool)
  words[:, 0, 2] = words[:, 1, 3] = True
  return regions.padded(
    [places] * count, [cells] * count, [np.array([0, 1])] * count, words, most
  )


def images(count=2, seed=1):
  rng = np.random.default_rng(seed)
  drawn = MEAN + DEVIATION * rng.normal(size=(count, SIDE, SIDE, 3))
  return jnp.asarray(drawn, jnp.float32)
