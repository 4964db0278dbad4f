"""Importance at places that are no cells, against loops over all places."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.explain.importance import importance
from protojax.explain.sweep import Rows, Totals, sweep
from protojax.modify import modification
from protojax.prototypes import similarity as similarities
from protojax.prototypes.bank import Bank
from protojax.types import State
from tests.explain import explain_fakes as fakes

_SIDE, _P, _IMAGES, _NEAREST = 32, 5, 7, 3
_TOKENS = (_SIDE // fakes.TILE) ** 2


class _Model:
  """What `Scored` asks for beside `embed`, `nearest` and `at`.

  Its prototypes are colours [p 3] that do not lie where others keep them.
  """

  similarity = similarities.load("linear")

  def bank(self, state):
    vectors = jnp.asarray(state.params["colours"])[:, None, None]
    return Bank(vectors, jnp.zeros(_P, jnp.int32), jnp.ones(_P, bool))

  def scores(self, state, features, similarity):
    return similarity

  def weights(self, state):
    return jnp.asarray(state.params["weight"])

  def bias(self, state):
    return jnp.zeros(2)


class Layers(_Model):
  """Mean and spread of each tile, as the tokens of two layers.

  A place is {"layer": [b p], "token": [b p]}.
  """

  def embed(self, state, images):
    x = jnp.asarray(images, jnp.float32) / 255
    b, n = len(x), _SIDE // fakes.TILE
    tiles = x.reshape(b, n, fakes.TILE, n, fakes.TILE, 3).swapaxes(2, 3)
    tiles = tiles.reshape(b, _TOKENS, -1, 3)
    return jnp.stack([tiles.mean(axis=2), 3 * tiles.std(axis=2)], axis=1)

  def _similarity(self, state, features):
    found = features.reshape(len(features), 2 * _TOKENS, 1, 3)
    flat = self.bank(state).vectors.reshape(1, 1, _P, 3)
    return self.similarity.activation(self.similarity.paired(found, flat))

  def nearest(self, state, features):
    found = self._similarity(state, features)
    layer, token = jnp.divmod(found.argmax(axis=1).astype(jnp.int32), _TOKENS)
    return found.max(axis=1), {"layer": layer, "token": token}

  def at(self, state, features, place):
    row = place["layer"] * _TOKENS + place["token"]
    found = self._similarity(state, features)
    return jnp.take_along_axis(found, row[:, None], axis=1)[:, 0]

  # The twin, for one image.

  def places(self):
    return [{"layer": i, "token": j} for i in range(2) for j in range(_TOKENS)]

  def vector(self, image, place):
    y, x = np.multiply(divmod(place["token"], _SIDE // fakes.TILE), fakes.TILE)
    tile = image[y : y + fakes.TILE, x : x + fakes.TILE].reshape(-1, 3) / 255
    return 3 * tile.std(axis=0) if place["layer"] else tile.mean(axis=0)


_BOXES = np.array(
  [
    (top, left, top + height, left + width)
    for height in (8, 16)
    for width in (8, 24)
    for top in range(0, _SIDE - height + 1, 8)
    for left in range(0, _SIDE - width + 1, 8)
  ],
  np.int32,
)


class Regions(_Model):
  """Mean colours of boxes of several sizes.

  A place is a box int32 [b p 4]: top, left, bottom, right.
  """

  def embed(self, state, images):
    """Sums of all pixels above and left of each corner."""
    x = jnp.asarray(images, jnp.float32) / 255
    sums = jnp.cumsum(jnp.cumsum(x, axis=1), axis=2)
    return jnp.pad(sums, ((0, 0), (1, 0), (1, 0), (0, 0)))

  def _similarity(self, state, features, boxes):
    """Of boxes [b n 4] to all prototypes, [b n p]."""

    def means(sums, boxes):
      top, left, bottom, right = boxes.T
      total = sums[bottom, right] - sums[top, right]
      total += sums[top, left] - sums[bottom, left]
      return total / ((bottom - top) * (right - left))[:, None]

    found = jax.vmap(means)(features, boxes)[:, :, None]
    flat = self.bank(state).vectors.reshape(1, 1, _P, 3)
    return self.similarity.activation(self.similarity.paired(found, flat))

  def nearest(self, state, features):
    boxes = jnp.broadcast_to(_BOXES[None], (len(features), *_BOXES.shape))
    found = self._similarity(state, features, boxes)
    return found.max(axis=1), jnp.asarray(_BOXES)[found.argmax(axis=1)]

  def at(self, state, features, place):
    found = self._similarity(state, features, place)
    return jnp.diagonal(found, axis1=1, axis2=2)

  def places(self):
    return list(_BOXES)

  def vector(self, image, place):
    top, left, bottom, right = place
    return image[top:bottom, left:right].reshape(-1, 3).mean(axis=0) / 255


_MODELS = Layers(), Regions()


def _state():
  rng = np.random.default_rng(2)
  colours = rng.uniform(0.1, 0.9, (_P, 3)).astype(np.float32)
  weight = rng.normal(size=(2, _P)).astype(np.float32)
  params = {"colours": colours, "weight": weight}
  return State(params=params, statistics={}, buffers={})


def _twin(model, state, images):
  """Similarity [b p], place [b p ...] and delta [b m p] by loops."""
  prototypes = np.asarray(state.params["colours"], float)

  def similar(image, place, j):
    apart = model.vector(image.astype(float), place) - prototypes[j]
    return -np.sum(apart**2)

  copies = [modification.modify(images, m) for m in fakes.PRESET.modifications]
  copies = [np.asarray(x) for x in copies]
  similarity = np.zeros((len(images), _P))
  delta = np.zeros((len(images), len(copies), _P))
  where = []
  for b, image in enumerate(images):
    row = []
    for j in range(_P):
      every = [similar(image, place, j) for place in model.places()]
      place = model.places()[int(np.argmax(every))]
      similarity[b, j] = max(every)
      for m, copy in enumerate(copies):
        delta[b, m, j] = max(every) - similar(copy[b], place, j)
      row.append(place)
    where.append(jax.tree.map(lambda *x: np.stack(x), *row))
  return similarity, jax.tree.map(lambda *x: np.stack(x), *where), delta


@pytest.fixture(scope="module", params=_MODELS, ids=lambda m: type(m).__name__)
def found(request):
  """A model, its state, the images and their scores by the twin."""
  model, state = request.param, _state()
  images = fakes.photographs(_IMAGES, size=_SIDE, seed=4)
  return model, state, images, _twin(model, state, images)


def _chosen(values, prototypes):
  """Values [b p ...] of the prototypes of each row."""
  return values[np.arange(len(values))[:, None], prototypes]


def test_importance_of_one_batch(found):
  model, state, images, (similarity, place, delta) = found
  bound = [
    functools.partial(f, state) for f in (model.nearest, model.at, model.embed)
  ]
  nearest, at, embed = bound
  local = jax.jit(importance, static_argnums=(0, 1, 3, 4))(
    nearest, at, images, fakes.PRESET.modifications, embed
  )
  jax.tree.map(assert_array_equal, local.place, place)
  assert_allclose(local.similarity, similarity, atol=1e-5)
  assert_allclose(local.delta, delta, atol=1e-5)
  assert np.abs(delta).max() > 0.05


def test_a_sweep_carries_places_through_rows_and_neighbours(found):
  model, state, images, (similarity, place, delta) = found
  stream = fakes.Images(images, np.zeros(len(images)))
  *batches, totals = sweep(
    model,
    state,
    stream.batches(),
    fakes.PRESET,
    provenance=np.full(_P, -1, np.int32),
    top=2,
    nearest=_NEAREST,
    keep_all=True,
  )
  assert isinstance(totals, Totals)
  start = 0
  for rows in batches:
    assert isinstance(rows, Rows)
    assert rows.all_scores is not None
    own = slice(start, start + len(rows.index))
    start = own.stop
    shown = jax.tree.map(lambda x, own=own: x[own], place)
    jax.tree.map(assert_array_equal, rows.all_scores.place, shown)
    answer = rows.logits.argmax(axis=1)
    points = similarity[own] * state.params["weight"][answer]
    top = np.argsort(-np.abs(points), axis=1)[:, :2]
    silent = np.abs(points) < 0.005
    assert_array_equal(rows.silent, silent.sum(axis=1))
    assert_array_equal(rows.prototypes, top)
    jax.tree.map(
      lambda x, y, top=top: assert_array_equal(x, _chosen(y, top)),
      rows.place,
      shown,
    )
  assert start == _IMAGES
  order = np.argsort(-similarity, axis=0)[:_NEAREST].T
  assert_array_equal(totals.nearest.images, order)
  columns = np.arange(_P)[:, None]
  jax.tree.map(
    lambda x, y: assert_array_equal(x, y[order, columns]),
    totals.nearest.more["place"],
    place,
  )
  weight = np.asarray(model.similarity.weight(similarity, 3), float)
  mean = (delta * weight[:, None]).sum(axis=0) / weight.sum(axis=0)
  assert_allclose(totals.all.importance, mean, atol=1e-5)


def test_a_sweep_without_images_gives_nothing():
  empty = np.full(_P, -1, np.int32)
  model, preset = _MODELS[0], fakes.PRESET
  assert not list(sweep(model, _state(), [], preset, provenance=empty))
