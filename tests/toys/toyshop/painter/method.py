"""Paints images in the mean colour of a class, with noise: it generates."""

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.datasets.dataset import Dataset
from protojax.engine.stage import Pass
from protojax.methods.base import NO_ASSETS, Capabilities
from protojax.types import State

SIDE, NOISE = 16, 20.0


class Painter:
  """Images of one colour each, and noise."""

  def __init__(self, method):
    self.class_names = method.dataset.class_names

  def generate(self, state, conditions, key, count, start=0):
    """Guidance moves the colour away from the mean of all classes."""
    index = np.arange(start, start + count, dtype=np.int32)
    label = np.broadcast_to(
      conditions.get("label", index % len(self.class_names)), count
    ).astype(np.int32)
    given = {
      "guidance": np.float32(conditions.get("guidance", 1.0)),
      "colours": state.params["bank"]["vectors"],
      "key": np.asarray(jax.random.key_data(key)),
    }
    padded = np.arange(parallel.whole_batch(count)) % count
    batch = {"index": index[padded], "label": label[padded]}
    ((_, images),) = parallel.each(_painted, given, [batch])
    return images[:count]

  def traced(self, state, conditions, key, count, start=0):
    """There is nothing on the way."""
    return self.generate(state, conditions, key, count, start), {}


def _painted(given, batch):
  colours = given["colours"]
  middle = colours.mean(0)[None]
  colour = middle + given["guidance"] * (colours[batch["label"]] - middle)
  keys = parallel.example_keys(parallel.key_of(given["key"]), batch["index"])
  noise = jax.vmap(lambda key: jax.random.normal(key, (SIDE, SIDE, 3)))(keys)
  pixels = colour[:, None, None] + NOISE * noise
  return jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8)


class Method:
  """The toy, as its config says."""

  splits = ("train", "test")
  assets = NO_ASSETS
  capabilities = Capabilities(generates=Painter)

  def __init__(self, config, class_names=None):
    self.config = config
    self.dataset = Dataset(
      config.data, config.seed, config.batch_size, class_names
    )

  def init(self, key):
    """Random colours."""
    shape = len(self.dataset.class_names), 3
    colours = jax.random.uniform(key, shape, maxval=255.0)
    return State({"bank": {"vectors": colours}}, {}, {})

  def stages(self):
    """A single sweep."""
    yield Pass("look", self.look, self.stream("train"))

  def look(self, state, data):
    """Every colour becomes the mean over the images of its class."""
    rows = [
      (batch["label"][batch["valid"]], found[batch["valid"]])
      for batch, found in parallel.each(_colours, state, data.batches())
    ]
    labels, found = (np.concatenate(x) for x in zip(*rows, strict=True))
    count = len(self.dataset.class_names)
    means = np.stack([found[labels == k].mean(0) for k in range(count)])
    return state.replace(params={"bank": {"vectors": means}}), {}

  def stream(self, split):
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  def predict(self, state, batch):
    """The mean colour of each image."""
    return {"colour": _colours(state, batch)}

  def evaluate(self, state, split):
    """Nothing."""
    del state, split
    return {}

  def summary(self, state, stages):
    """Nothing more."""
    del state, stages
    return {}


def _colours(state, batch):
  del state
  return jnp.mean(jnp.asarray(batch["image"], jnp.float32), axis=(1, 2))
