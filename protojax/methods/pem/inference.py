"""Queries -> classes of pixels, and segments."""

from typing import Any, NamedTuple

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.types import Array


class Thresholds(NamedTuple):
  """What is taken for a segment.

  Attributes:
    score: a query whose class is less probable gives none.
    overlap: a segment that keeps a smaller share of its mask is left out.
  """

  score: float
  overlap: float


@struct.dataclass
class Found:
  """The segments of an image; jit drops what is ignored.

  Fields are typed as Any for transformations.

  Attributes:
    plane: the number of the query that each pixel is of, plus 1, int32 [H W];
      0 is void. Merged segments have the number of their first query.
    merged: the number of the query whose segment each query's is part of, -1
      for a query that gives none, int32 [q].
    classes: of the queries, int32 [q].
    scores: probability of this class, [q].
  """

  plane: Any
  merged: Any
  classes: Any
  scores: Any


def semantic(
  logits: Float[Array, "q k"], masks: Float[Array, "q H W"]
) -> Float[Array, "H W c"]:
  """The score of each class at each pixel.

  Args:
    logits: of the classes and, last, of no object.
    masks: logits.
  """
  share = jax.nn.softmax(logits, axis=-1)[:, :-1]
  return jnp.einsum("qk,qhw->hwk", share, jax.nn.sigmoid(masks))


def panoptic(
  logits: Float[Array, "q k"],
  masks: Float[Array, "q H W"],
  things: Bool[Array, " c"],
  thresholds: Thresholds,
) -> Found:
  """The segments of an image.

  Each pixel goes to the query with the largest product of its score and mask,
  among those that say a class with a large enough score.

  Args:
    logits: of the classes and, last, of no object.
    masks: logits.
    things: classes of which each query is an object of its own; segments of the
      others are merged by class.
    thresholds: see `Thresholds`.
  """
  count, nothing = len(logits), logits.shape[-1] - 1
  share = jax.nn.softmax(logits, axis=-1)
  scores = jnp.max(share, axis=-1)
  classes = jnp.argmax(share, axis=-1).astype(jnp.int32)
  kept = (classes != nothing) & (scores > thresholds.score)
  inside = jax.nn.sigmoid(masks)
  weighted = scores[:, None, None] * inside
  weighted = jnp.where(kept[:, None, None], weighted, -1)
  owner = jnp.argmax(weighted, axis=0).astype(jnp.int32)
  within = inside >= 0.5
  own = owner[None] == jnp.arange(count)[:, None, None]
  assigned = jnp.sum(own, axis=(1, 2))
  whole = jnp.sum(within, axis=(1, 2))
  both = jnp.sum(own & within, axis=(1, 2))
  large = assigned >= thresholds.overlap * whole
  there = kept & (both > 0) & large
  merged = _merged(classes, there, things)
  shown = jnp.take_along_axis(within, owner[None], axis=0)[0] & there[owner]
  plane = jnp.where(shown, merged[owner] + 1, 0)
  return Found(plane.astype(jnp.int32), merged, classes, scores)


def _merged(
  classes: Int[Array, " q"], there: Bool[Array, " q"], things: Bool[Array, " c"]
) -> Int[Array, " q"]:
  """The first query of the same stuff, or the query itself; -1 for none."""
  numbers = jnp.arange(len(classes), dtype=jnp.int32)
  same = classes[:, None] == classes[None]
  stuff = ~jnp.append(things, True)[classes]
  joined = same & (stuff[:, None] | jnp.eye(len(classes), dtype=bool))
  first = jnp.argmax(joined & there[None], axis=1).astype(jnp.int32)
  return jnp.where(there, jnp.where(stuff, first, numbers), -1)
