"""Metrics of a model's heat maps, computed on the device for each image.

The heat of a class is the sum of the prototypes' similarity maps times their
weights for the class, where these are positive. With equal weights it is the
mean map that ST-ProtoPNet's code uses. Maps of single prototypes are measured
for those that give the predicted class the most points.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt8

from protojax import parallel
from protojax.evaluation.decisions import Decision, decide, probabilities
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


def judged(
  model: Explainable,
  state: State,
  batch: Batch,
  by_branch: bool = False,
  own_size: bool = False,
) -> dict[str, Array]:
  """Rows of a batch, by name.

  A batch may hold masks of the "object", and "parts" as from `objects.parts`.
  Metrics are "deletion", "insertion" [b], "drop_focus" and "drop_dual" [b m],
  and with an object "content", "outside_inside", "overlap" [b 1], "energy",
  "relevance", "hits" [b q] and "coverage" [b]. The other rows are tables over
  the p prototypes, for metrics over all images: "cells", "noisy_cells",
  "similarity", and with parts "at", "noisy_at" [b p r] and "seen".

  Args:
    model: see `Explainable`.
    state: its state.
    batch: images, with what is known of them.
    by_branch: probabilities under deletion and insertion; see
      `decisions.probabilities`.
    own_size: the metrics with an object are left to `located`, and the maps
      that it needs are rows: "class_map" [b h w] and "asked_maps" [b q h w].
  """
  images = jnp.asarray(batch["image"])
  seen = decide(model, state, images)
  keys = parallel.example_keys(parallel.key(0), batch["index"])
  noisy = decide(model, state, _bytes(parts.noisy(images, keys)))
  predicted = jnp.argmax(seen.logits, axis=1)
  maps, weights = _maps(model, state, seen), model.weights(state)
  asked, cells = _asked(seen, weights[predicted], maps)
  asked_maps = _pixels(cells, *images.shape[1:3])
  found = {
    "cells": seen.cells,
    "noisy_cells": noisy.cells,
    "similarity": seen.similarity,
    **_deleted(
      model,
      state,
      images,
      _pixels(_class_map(maps, weights, predicted), *images.shape[1:3]),
      by_branch,
    ),
    **_dropped(model, state, images, seen, asked[:, 0], asked_maps[:, 0]),
  }
  if "object" in batch:
    unknown = batch["label"] < 0
    classes = jnp.where(unknown, predicted, batch["label"])
    of_class = _class_map(maps, weights, classes)
    if own_size:
      found |= {"class_map": of_class, "asked_maps": cells}
    else:
      found |= located(of_class, cells, batch["object"])
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


def _class_map(
  maps: Float[Array, "b p h w"],
  weights: Float[ArrayLike, "k p"],
  classes: Int[ArrayLike, " b"],
) -> Float[Array, "b h w"]:
  """The heat of a class, in cells."""
  positive = jnp.maximum(jnp.asarray(weights)[classes], 0.0)
  precise = jax.lax.Precision.HIGHEST
  return jnp.einsum("bphw,bp->bhw", maps, positive, precision=precise)


def _asked(
  seen: Decision, weights: Float[Array, "b p"], maps: Float[Array, "b p h w"]
) -> tuple[Int[Array, "b q"], Float[Array, "b q h w"]]:
  """The prototypes that give the most points, and their maps."""
  points = seen.scores * weights
  _, asked = jax.lax.top_k(points, min(_ASKED, points.shape[1]))
  return asked, jnp.take_along_axis(maps, asked[..., None, None], axis=1)


def of_class(
  model: Explainable,
  state: State,
  images: UInt8[ArrayLike, "b H W 3"],
  classes: Int[ArrayLike, " b"],
) -> Float[Array, "b H W"]:
  """The heat of a class of each image, in pixels."""
  maps = _maps(model, state, decide(model, state, images))
  found = _class_map(maps, model.weights(state), classes)
  return _pixels(found, *images.shape[1:3])


def _pixels(
  maps: Float[Array, "*n h w"], height: int, width: int
) -> Float[Array, "*n {height} {width}"]:
  """Maps of cells as heat of pixels."""
  flat = maps.reshape(-1, *maps.shape[-2:])
  pixels = similarity_map.upsample(flat, height, width)
  return pixels.reshape(*maps.shape[:-2], height, width)


def _deleted(
  model: Explainable, state: State, images: Array, heat: Array, by_branch: bool
) -> dict[str, Array]:
  """Areas under the deletion and the insertion curve of the prediction."""

  def predict(copies: Array) -> Array:
    seen = decide(model, state, copies)
    return probabilities(model, state, seen, by_branch)

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


def located(
  of_class: Float[ArrayLike, "b h w"],
  asked: Float[ArrayLike, "b q h w"],
  masks: Bool[ArrayLike, "b H W"],
) -> dict[str, Array]:
  """Metrics of the class's heat and of prototypes' maps against the object.

  Args:
    of_class: heat of the class, in cells.
    asked: maps of some prototypes, in cells.
    masks: where the object is. Maps are upsampled to their size.
  """
  size = masks.shape[1:3]
  heat = _pixels(jnp.asarray(of_class)[:, None], *size)
  asked = _pixels(jnp.asarray(asked), *size)
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
