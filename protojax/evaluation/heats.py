"""Metrics of a model's heat maps, computed on the device for each image.

The heat of a class is the sum of the prototypes' similarity maps times their
weights for the class, where these are positive. With equal weights it is the
mean map that ST-ProtoPNet's code uses. Maps of single prototypes are measured
for those that give the predicted class the most points.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax import parallel
from protojax.evaluation.decisions import Decision, decide
from protojax.heat import similarity_map
from protojax.metrics import interpretability as metrics
from protojax.metrics import localisation, parts
from protojax.metrics.deletion import blurred
from protojax.modify import modification, presets
from protojax.prototypes.explainable import Explainable
from protojax.types import Array, ArrayLike, Batch, State

# Number of prototypes of an image whose maps are measured.
_ASKED = 3
# The modifications of the relevance drop: without texture, as in CaBRNet.
_CHANGES = tuple(
  m
  for m in presets.BALANCED.modifications
  if m.change not in ("identity", "texture")
)


def judged(model: Explainable, state: State, batch: Batch) -> dict[str, Array]:
  """Rows of a batch, by name.

  A batch may hold masks of the "object", and "parts" as from `objects.parts`.
  Metrics are "deletion", "insertion" [b], "drop_focus" and "drop_dual" [b m],
  and with an object "content", "outside_inside", "overlap" [b 1], "energy",
  "relevance", "hits" [b q] and "coverage" [b]. The other rows are tables over
  the p prototypes, for metrics over all images: "cells", "noisy_cells",
  "similarity", and with parts "at", "noisy_at" [b p r] and "seen".
  """
  images = jnp.asarray(batch["image"])
  seen = decide(model, state, images)
  keys = parallel.example_keys(parallel.key(0), batch["index"])
  noisy = decide(model, state, _bytes(parts.noisy(images, keys)))
  predicted = jnp.argmax(seen.logits, axis=1)
  maps, weights = _maps(model, state, seen), model.weights(state)
  asked, asked_maps = _asked(seen, weights[predicted], maps, images)
  found = {
    "cells": seen.cells,
    "noisy_cells": noisy.cells,
    "similarity": seen.similarity,
    **_deleted(model, state, images, _heat(maps, weights, predicted, images)),
    **_dropped(model, state, images, seen, asked[:, 0], asked_maps[:, 0]),
  }
  if "object" in batch:
    unknown = batch["label"] < 0
    classes = jnp.where(unknown, predicted, batch["label"])
    heat = _heat(maps, weights, classes, images)[:, None]
    found |= _located(heat, asked_maps, batch["object"])
  if "parts" in batch:
    after = _maps(model, state, noisy)
    found |= _parted(maps, after, batch["parts"], images.shape[1])
  return found


def _maps(
  model: Explainable, state: State, seen: Decision
) -> Float[Array, "b p h w"]:
  """Similarity of every cell to every prototype; 0 for dead ones."""
  bank = model.bank(state)
  distances = model.similarity.distance(seen.embedded, bank.vectors)
  alive = jnp.asarray(bank.alive)[None, None, None]
  maps = jnp.where(alive, model.similarity.activation(distances), 0.0)
  return jnp.moveaxis(maps, -1, 1)


def _heat(
  maps: Float[Array, "b p h w"],
  weights: Float[ArrayLike, "k p"],
  classes: Int[ArrayLike, " b"],
  images: ArrayLike,
) -> Float[Array, "b H W"]:
  """The heat of a class, in pixels."""
  positive = jnp.maximum(jnp.asarray(weights)[classes], 0.0)
  precise = jax.lax.Precision.HIGHEST
  heat = jnp.einsum("bphw,bp->bhw", maps, positive, precision=precise)
  return similarity_map.upsample(heat, *images.shape[1:3])


def _asked(
  seen: Decision,
  weights: Float[Array, "b p"],
  maps: Float[Array, "b p h w"],
  images: Array,
) -> tuple[Int[Array, "b q"], Float[Array, "b q H W"]]:
  """The prototypes that give the most points, and their maps in pixels."""
  points = seen.scores * weights
  _, asked = jax.lax.top_k(points, min(_ASKED, points.shape[1]))
  chosen = jnp.take_along_axis(maps, asked[..., None, None], axis=1)
  flat = chosen.reshape(-1, *chosen.shape[2:])
  pixels = similarity_map.upsample(flat, *images.shape[1:3])
  return asked, pixels.reshape(*asked.shape, *pixels.shape[1:])


def _deleted(
  model: Explainable, state: State, images: Array, heat: Array
) -> dict[str, Array]:
  """Areas under the deletion and the insertion curve of the prediction."""

  def predict(copies: Array) -> Array:
    return jax.nn.softmax(decide(model, state, copies).logits)

  classes = jnp.argmax(predict(images), axis=1)
  mean_colour = 255 * jnp.array(model.backbone.mean)[None, None, None]
  grey = jnp.broadcast_to(_bytes(mean_colour), images.shape)
  deletion = metrics.deletion(predict, images, heat, classes, grey)
  soft = _bytes(blurred(images))
  insertion = metrics.insertion(predict, images, heat, classes, soft)
  return {
    "deletion": metrics.area(deletion),
    "insertion": metrics.area(insertion),
  }


def _dropped(
  model: Explainable,
  state: State,
  images: Array,
  seen: Decision,
  prototype: Int[Array, " b"],
  heat: Float[Array, "b H W"],
) -> dict[str, Array]:
  """Share of its similarity that a prototype loses by each modification.

  Focus modifies where its map is hot, dual where it is not. Not defined for a
  flat map, or for a similarity that is not above 0.
  """
  share = localisation.scaled(heat[:, None])[:, 0]
  flat = jnp.isnan(share[:, 0, 0])
  share = jnp.nan_to_num(share)
  changed = [modification.modify(images, change) for change in _CHANGES]
  copies = [
    _bytes(metrics.blended(images, new, where))
    for where in (share, 1 - share)
    for new in changed
  ]
  embedded = model.embed(state, jnp.concatenate(copies))
  after, _ = model.nearest(state, embedded)
  after = after.reshape(2 * len(_CHANGES), *seen.similarity.shape)
  rows = jnp.arange(len(images))
  before = jnp.where(flat, jnp.nan, seen.similarity[rows, prototype])
  found = after[:, rows, prototype]
  drop = metrics.relative_drop(jnp.broadcast_to(before, found.shape), found)
  focus, dual = jnp.split(drop, 2)
  return {"drop_focus": focus.T, "drop_dual": dual.T}


def _located(
  heat: Float[Array, "b 1 H W"],
  asked: Float[Array, "b q H W"],
  masks: ArrayLike,
) -> dict[str, Array]:
  """Metrics of the class's heat and of prototypes' maps against the object."""
  return {
    "content": metrics.content(heat, masks),
    "outside_inside": metrics.outside_inside(heat, masks),
    "overlap": metrics.overlap(heat, masks),
    "energy": metrics.energy(asked, masks),
    "relevance": metrics.relevance(asked, masks),
    "hits": metrics.hits(asked, masks),
    "coverage": metrics.coverage(masks),
  }


def _parted(
  before: Float[Array, "b p h w"],
  after: Float[Array, "b p h w"],
  rows: Float[ArrayLike, "b r 3"],
  size: int,
) -> dict[str, Array]:
  """The parts that each prototype is at, without noise and with it."""
  seen = jnp.asarray(rows)[..., 2] > 0
  points = size * jnp.asarray(rows)[..., :2]

  def at(maps: Array) -> Array:
    boxes = parts.boxes(_hottest(maps, size), size, size)
    return metrics.contained(boxes, points, seen)

  return {"at": at(before), "noisy_at": at(after), "seen": seen}


def _hottest(maps: Float[Array, "b p h w"], size: int) -> Int[Array, "b p 2"]:
  """Row and column of the hottest pixel of each map."""

  def one(maps: Float[Array, "b h w"]) -> Int[Array, "b 2"]:
    flat = similarity_map.upsample(maps, size, size).reshape(len(maps), -1)
    return jnp.stack(jnp.divmod(jnp.argmax(flat, axis=1), size), axis=1)

  return jnp.swapaxes(jax.lax.map(one, jnp.swapaxes(maps, 0, 1)), 0, 1)


def _bytes(images: Array) -> Array:
  """Grey levels rounded to uint8, as in an image."""
  return jnp.round(images).astype(jnp.uint8)
