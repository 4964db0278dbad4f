"""Which query answers for which segment: the cheapest one-to-one matching.

As in Mask2Former; it runs on the device, for all predictions and images at
once.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import optax

from protojax.types import Array


class Pairs(NamedTuple):
  """Pairs of a query and a segment. Any: transformations store anything here.

  Attributes:
    query: number of the query, [p]; each comes once.
    segment: number of the segment, [p]; each comes once.
    valid: which pairs count; in the others the segment is padding.
  """

  query: Any
  segment: Any
  valid: Any


def costs(
  logits: Float[Array, "q k"],
  masks: Float[Array, "q n"],
  targets: Float[Array, "t n"],
  classes: Int[Array, " t"],
  known: Float[Array, " n"],
  weights: tuple[float, float, float],
) -> Float[Array, "q t"]:
  """What it costs that a query answers for a segment.

  Args:
    logits: of the classes and, last, of no object.
    masks: logits at some points.
    targets: 0..1, how much of each point lies on each segment.
    classes: of the segments.
    known: how much each point counts.
    weights: of the class, of the cross entropy of the mask, and of dice.
  """
  of_class, of_mask, of_dice = weights
  share = jax.nn.softmax(logits, axis=-1)[:, classes]
  counted = targets * known[None]
  # Of the logistic loss: softplus(-x) for a point within, softplus(x) without.
  outside = jax.nn.softplus(masks) * known[None]
  entropy = jnp.sum(outside, axis=-1)[:, None] - masks @ counted.T
  entropy = entropy / jnp.maximum(jnp.sum(known), 1)
  inside = jax.nn.sigmoid(masks)
  sizes = jnp.sum(inside * known[None], axis=-1)[:, None]
  sizes += jnp.sum(counted, axis=-1)[None]
  dice = 1 - (2 * inside @ counted.T + 1) / (sizes + 1)
  return of_mask * entropy + of_dice * dice - of_class * share


def matched(cost: Float[Array, "q t"], valid: Bool[Array, " t"]) -> Pairs:
  """The matching of the least cost; as many pairs as the smaller side has.

  Args:
    cost: of each pair.
    valid: False for segments that are padding.
  """
  # The search would not end on nan; the loss of such a step is nan, and told.
  cost = jnp.nan_to_num(jax.lax.stop_gradient(cost), nan=0, posinf=1e6)
  # Dearer than any other, so that padding gets what is left over.
  most = jnp.max(jnp.where(valid[None], cost, -jnp.inf), initial=0.0) + 1
  cost = jnp.where(valid[None], cost, most)
  query, segment = optax.assignment.hungarian_algorithm(cost)
  return Pairs(query, segment, valid[segment])
