"""A small fake model: features are the mean colours of 8 x 8 tiles."""

import functools
import types

import jax.numpy as jnp
import numpy as np

from protojax.backbones import Layer
from protojax.data import images as images_lib
from protojax.data.resizing import SQUASH
from protojax.modify import presets
from protojax.prototypes import similarity as similarities
from protojax.prototypes.bank import Provenance, bank_of
from protojax.prototypes.groups import CLASS, Groups
from protojax.types import State

TILE = 8

# Texture left out: its program takes seconds to compile.
PRESET = presets.Preset(
  "few",
  tuple(m for m in presets.REFERENCE.modifications if m.name != "texture"),
)
FEW = PRESET.names


class Images:
  """Images in memory, as a source and as its ordered stream."""

  resizing = SQUASH

  def __init__(self, images, labels, names=None, batch_size=4):
    self.images, self.labels = images, np.asarray(labels, np.int32)
    self.names = names or [f"image-{i}" for i in range(len(images))]
    self.batch_size, self.image_size = batch_size, images.shape[1]
    self.source = self

  def name(self, i):
    return self.names[i]

  def __len__(self):
    return len(self.images)

  def __getitem__(self, i):
    return {"image": self.images[i], "name": self.names[i]}

  def examples(self, indices):
    indices = np.asarray(indices, np.int32)
    return {
      "image": self.images[indices],
      "label": self.labels[indices],
      "index": indices,
      "valid": np.ones(len(indices), bool),
    }

  def batches(self):
    return self.spread(len(self))

  def spread(self, limit):
    count = min(limit or len(self), len(self))
    chosen = np.linspace(0, len(self) - 1, count).round().astype(int)
    for start in range(0, count, self.batch_size):
      row = np.arange(start, start + self.batch_size)
      valid = row < count
      yield {**self.examples(chosen[np.where(valid, row, 0)]), "valid": valid}


class Colours:
  """A model whose prototypes are mean colours; see `Explainable`."""

  def __init__(self, class_names, image_size=32, similarity="log"):
    self.similarity = similarities.load(similarity)
    self.class_names, self.image_size = tuple(class_names), image_size
    self.backbone = types.SimpleNamespace(layers=(Layer(TILE, TILE, "VALID"),))
    self.grid = (image_size // TILE, image_size // TILE)
    self.train = None

  def bank(self, state):
    return bank_of(state)

  def embed(self, state, images):
    return self.features(images)

  def features(self, images):
    images = jnp.asarray(images, jnp.float32) / 255
    b, h, w, d = images.shape
    tiles = images.reshape(b, h // TILE, TILE, w // TILE, TILE, d)
    return tiles.mean(axis=(2, 4))

  def _similarity(self, state, features):
    prototypes = self.bank(state).vectors
    cells = features.reshape(len(features), -1, 1, features.shape[-1])
    distances = self.similarity.paired(cells, prototypes.reshape(1, 1, -1, 3))
    return self.similarity.activation(distances)

  def nearest(self, state, features):
    found = self._similarity(state, features)
    return found.max(axis=1), found.argmax(axis=1).astype(jnp.int32)

  def at(self, state, features, cells):
    found = self._similarity(state, features)
    return jnp.take_along_axis(found, cells[:, None], axis=1)[:, 0]

  def maps(self, state, images, prototypes):
    found = self._similarity(state, self.features(images))[..., prototypes]
    return found.reshape(len(images), *self.grid, -1)

  def scores(self, state, features, similarity):
    return similarity

  def bias(self, state):
    return jnp.zeros(len(self.class_names))

  def notes(self, state):
    return ({},) * len(self.bank(state).alive)

  @property
  def groups(self):
    return Groups(CLASS, self.class_names)

  def weights(self, state):
    weight, alive = state.params["head"]["weight"], self.bank(state).alive
    return jnp.where(alive[None], weight, 0.0)


_model = functools.lru_cache(Colours)


def photographs(count, size=32, seed=0):
  """Coloured tiles with noise, so that all cells differ."""
  rng = np.random.default_rng(seed)
  tiles = rng.integers(20, 235, (count, size // TILE, size // TILE, 3))
  images = tiles.repeat(TILE, axis=1).repeat(TILE, axis=2)
  noise = rng.integers(-15, 16, images.shape)
  return np.clip(images + noise, 0, 255).astype(np.uint8)


def trained(
  train=12, classes=3, each=4, dead=(5,), names=None, similarity="log"
):
  """A model and its state, every prototype pushed to an image of its class."""
  rng = np.random.default_rng(1)
  names = names or [f"class {k}" for k in range(classes)]
  stream = Images(photographs(train), np.arange(train) % classes)
  # The same object for all tests, so that its programs are compiled once.
  model = _model(tuple(names), similarity=similarity)
  model.train = stream
  class_of = np.repeat(np.arange(classes), each).astype(np.int32)
  count = len(class_of)
  image = np.array(
    [rng.choice(np.flatnonzero(stream.labels == k)) for k in class_of], np.int32
  )
  cell = rng.integers(0, 16, count).astype(np.int32)
  # The second prototype is the same patch as the first.
  image[1], cell[1] = image[0], cell[0]
  features = np.asarray(model.features(stream.images)).reshape(train, 16, 3)
  weight = rng.normal(-0.3, 0.1, (classes, count)).astype(np.float32)
  weight[class_of, np.arange(count)] = rng.normal(1, 0.1, count)
  alive = np.ones(count, bool)
  alive[list(dead)] = False
  content = np.stack([images_lib.digest(stream.images[i]) for i in image])
  provenance = Provenance.empty(count).replace(
    image=image, cell=cell, content=content
  )
  prototypes = features[image, cell].reshape(count, 1, 1, 3)
  state = State(
    params={
      "prototypes": {"prototypes": prototypes},
      "head": {"weight": weight},
    },
    statistics={},
    buffers={"class_of": class_of, "alive": alive, "provenance": provenance},
  )
  return model, state
