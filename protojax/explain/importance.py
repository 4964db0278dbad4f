"""Importance: how much each characteristic of an image adds to a similarity.

The score of "This Looks Like That, Because ...": change one characteristic of
the image, stay at the same place, and measure the loss of similarity. A place
is what the model says it is; see `prototypes.explainable`.
`importance` scores images of any model (local), `of_batch` a batch of a stream
with a preset, `of_maps` what a model on the host has made of the copies.
`totals` makes global scores of many batches, and `sweep` runs over a stream on
all devices.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8
import numpy as np

from protojax.layers.conv import on_cpu
from protojax.modify import modification
from protojax.modify.modification import Modification
from protojax.modify.presets import Preset
from protojax.types import ArrayLike, Batch, PyTree

Embed = Callable[[ArrayLike], jax.Array]
Nearest = Callable[[ArrayLike], tuple[jax.Array, PyTree]]
At = Callable[[ArrayLike, PyTree], jax.Array]

# Images that go through a network together on CPU, where the maps of a few
# stay in the cache. With 96 images of 224 pixels, EfficientNet-Lite0 takes 0.84
# of the time of a single pass and ResNet-18 the same time; both need a small
# share of its memory.
_FEW = 4


class Local(NamedTuple):
  """Scores of a batch.

  Attributes:
    similarity: g, at the nearest place of the unchanged image.
    place: that place, a tree of arrays [b p ...]; a cell is int32 [b p],
      row-major.
    delta: phi_local = g - g^i, for every modification i at the same place.
  """

  similarity: Float[jax.Array, "b p"]
  place: PyTree
  delta: Float[jax.Array, "b m p"]


def of_batch(
  nearest: Nearest,
  at: At,
  batch: Batch,
  preset: Preset,
  embed: Embed = jnp.asarray,
) -> tuple[Local, jax.Array]:
  """Local importance for a batch of a stream, in the mode of its preset.

  Args:
    nearest, at, embed: see `compare`.
    batch: in mode "reference", with the "copies" of `reference_mode.attach`.
    preset: what is modified, and how it is scored.

  Returns:
    The scores, axis m as `preset.names`, and the features of the unchanged
    images.
  """
  if preset.mode == "fast":
    stack, rows = copies(batch["image"], preset.modifications)
  else:
    _, rows = modification.stacked(preset.modifications)
    stack = jnp.moveaxis(batch["copies"], 1, 0)
  local, features = _compare(nearest, at, stack, rows, embed, preset.own_cell)
  return local._replace(delta=preset.scores(local.delta)), features


def importance(
  nearest: Nearest,
  at: At,
  images: UInt8[ArrayLike, "b H W 3"],
  modifications: Sequence[Modification],
  embed: Embed = jnp.asarray,
  own_cell: bool = False,
) -> Local:
  """Local importance of every modification for every prototype.

  Makes the modified copies on the device and compares them.

  Args:
    nearest, at, embed, own_cell: see `compare`.
    images: before any modification.
    modifications: the axis m of the scores.
  """
  stack, rows = copies(images, modifications)
  return compare(nearest, at, stack, rows, embed, own_cell)


def copies(
  images: UInt8[ArrayLike, "b H W 3"], modifications: Sequence[Modification]
) -> tuple[UInt8[jax.Array, "n b H W 3"], tuple[int, ...]]:
  """The images with their copies; the row of each modification among them."""
  images = jnp.asarray(images)
  made, rows = modification.stacked(modifications)
  return jnp.stack(
    [images, *(modification.modify(images, m) for m in made)]
  ), rows


def compare(
  nearest: Nearest,
  at: At,
  stack: UInt8[ArrayLike, "n b H W 3"],
  rows: Sequence[int],
  embed: Embed = jnp.asarray,
  own_cell: bool = False,
) -> Local:
  """Similarity of images less that of their modified copies.

  phi_local(i, k, j) = g_kj - g^i_kj ("This Looks Like That, Because ...").
  Positive: the characteristic matters; about 0: it does not; negative: the
  patch is more similar without it. The place is that of the unchanged image.

  The unchanged image goes through `embed` and `at` in one stack with its
  copies, and gives g. In a program of its own, its similarity could differ in
  the last bits, which the log similarity enlarges near a distance of 0.

  Args:
    nearest: features -> (similarity b p, place).
    at: features, place -> similarity b p.
    stack: the unchanged images first, then their copies.
    rows: the row of each modification in the stack; 0 for a control.
    embed: images -> features, image by image. Put the expensive layers of a
      model here: they run once over the whole stack, on CPU a few images at a
      time. By default `nearest` and `at` get the images.
    own_cell: take the similarity of a copy at its own nearest place, as the
      paper's first version did, not at that of the unchanged image.
  """
  return _compare(nearest, at, stack, rows, embed, own_cell)[0]


def _compare(nearest, at, stack, rows, embed, own_cell):
  """The scores, and the features of the unchanged images."""
  stack = jnp.asarray(stack)
  n, b = stack.shape[:2]
  features = _embedded(embed, stack.reshape(n * b, *stack.shape[2:]))
  features = features.reshape(n, b, *features.shape[1:])
  return _scores(nearest, at, features, rows, own_cell), features[0]


def of_maps(maps: Float[ArrayLike, "n b h w p"], rows: Sequence[int]) -> Local:
  """Local importance from the maps of a stack, however they were made.

  Args:
    maps: of the unchanged images first, then of their copies.
    rows: see `compare`.
  """
  n, b, h, w, p = maps.shape
  nearest, at, _ = from_maps(jnp.asarray)
  flat = jnp.reshape(jnp.asarray(maps), (n, b, h * w, p))
  return _scores(nearest, at, flat, rows, False)


def _scores(nearest, at, features, rows, own_cell) -> Local:
  _, place = nearest(features[0])
  if own_cell:
    similarity, _ = jax.vmap(nearest)(features)
  else:
    similarity = jax.vmap(at, in_axes=(0, None))(features, place)
  delta = similarity[0][None] - similarity[np.array(rows, np.int32)]
  return Local(similarity[0], place, jnp.moveaxis(delta, 0, 1))


def _embedded(embed, images):
  """Features of many images."""
  count = len(images)
  if not on_cpu() or count <= _FEW:
    return embed(images)
  padding = [(0, -count % _FEW), *[(0, 0)] * (images.ndim - 1)]
  groups = jnp.pad(images, padding).reshape(-1, _FEW, *images.shape[1:])
  features = jax.lax.map(embed, groups)
  return features.reshape(-1, *features.shape[2:])[:count]


def from_maps(
  function: Callable[[ArrayLike], Float[ArrayLike, "b h w p"]],
) -> tuple[Nearest, At, Embed]:
  """Adapts a model that returns similarity maps to `importance`.

  The nearest cell is the most similar one, the first in row-major order.

    nearest, at, embed = from_maps(model)
    local = importance(nearest, at, images, modifications, embed)

  `embed` makes the maps, once for all copies. A model of another library is
  called on the host:

    def model(images):
      shape = jax.ShapeDtypeStruct((len(images), h, w, p), np.float32)
      return jax.pure_callback(predict, shape, images)

  where `predict` takes and returns NumPy arrays.
  """

  def embed(images: ArrayLike) -> jax.Array:
    maps = jnp.asarray(function(images))
    return maps.reshape(maps.shape[0], -1, maps.shape[-1])

  def nearest(maps: ArrayLike) -> tuple[jax.Array, jax.Array]:
    return jnp.max(maps, axis=1), jnp.argmax(maps, axis=1).astype(jnp.int32)

  def at(maps: ArrayLike, cells: ArrayLike) -> jax.Array:
    return jnp.take_along_axis(maps, cells[:, None], axis=1)[:, 0]

  return nearest, at, embed
