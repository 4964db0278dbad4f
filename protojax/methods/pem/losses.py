"""Losses of masks and their classes, as in Mask2Former.

Each of several predictions of an image is matched to its segments for itself.
Masks are compared at points that are drawn, or at all pixels.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.layers import sampling
from protojax.methods.pem import matching
from protojax.methods.pem.decoder import resized
from protojax.methods.pem.matching import Pairs
from protojax.methods.pem.segments import NONE, Segments
from protojax.types import Array


class Settings(NamedTuple):
  """How predictions are compared with segments.

  Attributes:
    points: that masks are compared at; 0: all pixels.
    oversample: as many candidates for each point that is drawn by importance.
    importance: share of the points whose logits are nearest to 0 among the
      candidates; the others are drawn anew.
    no_object: weight of queries without a segment in the class's loss.
    weights: of the class, of the cross entropy of the mask, and of dice, in the
      loss as in the matching.
    skip_void: whether pixels without a segment are left out; in the authors'
      code, all masks are pushed down on them.
  """

  points: int
  oversample: float
  importance: float
  no_object: float
  weights: tuple[float, float, float]
  skip_void: bool


class Sums(NamedTuple):
  """Sums over the examples. Any: transformations store anything here.

  Attributes:
    classes: weighted cross entropy of all queries.
    weight: sum of the weights.
    masks: mean cross entropy of each pair's mask.
    dice: of each pair.
    pairs: how many of them there are.
  """

  classes: Any
  weight: Any
  masks: Any
  dice: Any
  pairs: Any


def of_predictions(
  logits: Float[Array, "p b q k"],
  masks: Float[Array, "p b q h w"],
  segments: Segments,
  keys: Array,
  settings: Settings,
) -> Sums:
  """The sums of each prediction, [p].

  Args:
    logits: of the classes and, last, of no object.
    masks: logits.
    segments: of the images.
    keys: a key for each example, of the points.
    settings: see `Settings`.
  """

  def of_image(
    number: Array, logits: Array, masks: Array, own: Segments, key: Array
  ) -> Sums:
    key = jax.random.fold_in(key, number)
    return _of_image(logits, masks, own, key, settings)

  by_image = jax.vmap(of_image, in_axes=(None, 0, 0, 0, 0))
  by_prediction = jax.vmap(by_image, in_axes=(0, 0, 0, None, None))
  numbers = jnp.arange(len(logits))
  found = by_prediction(numbers, logits, masks, segments, keys)
  return jax.tree.map(lambda x: jnp.sum(x, axis=1), found)


def _of_image(
  logits: Float[Array, "q k"],
  masks: Float[Array, "q h w"],
  segments: Segments,
  key: Array,
  settings: Settings,
) -> Sums:
  for_match, for_loss = jax.random.split(key)
  pairs, at_all = _paired(logits, masks, segments, for_match, settings)
  of_class, weight = _class_loss(logits, segments, pairs, settings)
  if at_all is None:
    each = jax.vmap(
      lambda i, j, key: _at_points(masks[i], segments.plane, j, key, settings)
    )
    keys = jax.random.split(for_loss, len(pairs.query))
    values, targets, known = each(pairs.query, pairs.segment, keys)
  else:
    values, targets, known = at_all
    values, targets = values[pairs.query], targets[pairs.segment]
    known = jnp.broadcast_to(known[None], values.shape)
  entropy, dice = _mask_losses(values, targets, known)
  return Sums(
    of_class,
    weight,
    jnp.sum(jnp.where(pairs.valid, entropy, 0)),
    jnp.sum(jnp.where(pairs.valid, dice, 0)),
    jnp.sum(pairs.valid),
  )


def _paired(
  logits: Array, masks: Array, segments: Segments, key: Array, settings: Any
) -> tuple[Pairs, tuple[Array, Array, Array] | None]:
  """The pairs; and, of all pixels, logits, targets and what is known."""
  numbers = jnp.arange(len(segments.classes))
  if settings.points:
    points = jax.random.uniform(key, (settings.points, 2))
    values = _read(masks, points)
    targets = _shares(segments.plane, points, numbers)
    known = _known(segments.plane, points, settings)
  else:
    values = resized(masks[None], *segments.plane.shape)[0]
    values = values.reshape(len(masks), -1)
    flat = segments.plane.reshape(-1)
    targets = (flat[None] == numbers[:, None]).astype(values.dtype)
    known = jnp.ones_like(flat, values.dtype)
    if settings.skip_void:
      known = (flat != NONE).astype(values.dtype)
  cost = matching.costs(
    logits, values, targets, segments.classes, known, settings.weights
  )
  pairs = matching.matched(cost, segments.valid)
  return pairs, None if settings.points else (values, targets, known)


def _class_loss(
  logits: Array, segments: Segments, pairs: Pairs, settings: Settings
) -> tuple[Array, Array]:
  """Weighted cross entropy of all queries, and the sum of the weights."""
  count, width = logits.shape
  nothing = width - 1
  chosen = jnp.where(pairs.valid, segments.classes[pairs.segment], nothing)
  wanted = jnp.full(count, nothing).at[pairs.query].set(chosen)
  weight = jnp.where(wanted == nothing, settings.no_object, 1.0)
  log = jax.nn.log_softmax(logits, axis=-1)
  each = -jnp.take_along_axis(log, wanted[:, None], axis=-1)[:, 0]
  return jnp.sum(weight * each), jnp.sum(weight)


def _mask_losses(
  values: Float[Array, "p n"],
  targets: Float[Array, "p n"],
  known: Float[Array, "p n"],
) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
  """Mean cross entropy, and dice, of each pair."""
  each = jax.nn.softplus(values) - values * targets
  entropy = jnp.sum(each * known, -1) / jnp.maximum(jnp.sum(known, -1), 1)
  inside, counted = jax.nn.sigmoid(values) * known, targets * known
  both = jnp.sum(inside * targets, axis=-1)
  sizes = jnp.sum(inside, axis=-1) + jnp.sum(counted, axis=-1)
  return entropy, 1 - (2 * both + 1) / (sizes + 1)


def _at_points(
  mask: Float[Array, "h w"],
  plane: Int[Array, "H W"],
  segment: Array,
  key: Array,
  settings: Settings,
) -> tuple[Array, Array, Array]:
  """Logits, target and what is known of a pair, at points of its own."""
  points = drawn(mask, key, settings)
  return (
    _read(mask[None], points)[0],
    _shares(plane, points, segment[None])[0],
    _known(plane, points, settings),
  )


def drawn(
  mask: Float[Array, "h w"], key: Array, settings: Settings
) -> Float[Array, "n 2"]:
  """Points (y, x) in 0..1, most of them where a mask is least certain.

  Args:
    mask: logits.
    key: of the randomness.
    settings: how many points.
  """
  first, second = jax.random.split(key)
  count = int(settings.importance * settings.points)
  candidates = int(settings.oversample * settings.points)
  points = jax.random.uniform(first, (candidates, 2))
  values = jax.lax.stop_gradient(_read(mask[None], points)[0])
  _, chosen = jax.lax.top_k(-jnp.abs(values), count)
  others = jax.random.uniform(second, (settings.points - count, 2))
  return jnp.concatenate([points[chosen], others])


def _read(
  masks: Float[Array, "q h w"], points: Float[Array, "n 2"]
) -> Float[Array, "q n"]:
  places = _in_cells(points, *masks.shape[1:])
  return sampling.sampled(jnp.moveaxis(masks, 0, -1), places).T


def _shares(
  plane: Int[Array, "H W"],
  points: Float[Array, "n 2"],
  numbers: Int[Array, " t"],
) -> Float[Array, "t n"]:
  places = _in_cells(points, *plane.shape)
  return sampling.shares(plane, places, numbers)


def _known(
  plane: Int[Array, "H W"], points: Float[Array, "n 2"], settings: Settings
) -> Float[Array, " n"]:
  """How much each point counts."""
  if not settings.skip_void:
    return jnp.ones(len(points))
  known = jnp.where(plane == NONE, NONE, 0)
  return _shares(known, points, jnp.zeros(1, plane.dtype))[0]


def _in_cells(
  points: Float[Array, "n 2"], height: int, width: int
) -> Float[Array, "n 2"]:
  """Points of 0..1 in cells: the middle of the first is 0."""
  return points * jnp.array([[height, width]], points.dtype) - 0.5
