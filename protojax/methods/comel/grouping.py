"""Groups of instances, whose means are the few tokens that attention goes by.

The paper averages the instances of a region; the authors' code averages the
instances that have the same place within windows of a raster (`strided`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.types import ArrayLike

GROUPINGS = ("region", "strided")


class Groups(NamedTuple):
  """The group of each instance of a bag.

  Attributes:
    of: number of each instance's group.
    divisor: what the sum of each group is divided by; 0: the group is not
      there.
    zeros: vectors of zeros that are keys beside the instances: the padding of
      the authors' raster.
  """

  of: Int[ArrayLike, " n"]
  divisor: Float[ArrayLike, " m"]
  zeros: Float[ArrayLike, ""]


def region(
  places: Float[ArrayLike, "n 2"], valid: Bool[ArrayLike, " n"], side: int
) -> Groups:
  """Cells of a grid over the places of a bag's instances.

  Args:
    places: in any unit.
    valid: False for padding.
    side: of the grid, which has m = side^2 cells.
  """
  places, inside = jnp.asarray(places), jnp.asarray(valid)[:, None]
  low = jnp.min(jnp.where(inside, places, jnp.inf), axis=0, keepdims=True)
  high = jnp.max(jnp.where(inside, places, -jnp.inf), axis=0, keepdims=True)
  span = jnp.maximum(high - low, 1e-6)
  cells = jnp.floor((places - low) / span * side)
  cells = jnp.clip(cells, 0, side - 1).astype(jnp.int32)
  of = cells[:, 1] * side + cells[:, 0]
  counts = jax.ops.segment_sum(jnp.float32(valid), of, side**2)
  return Groups(of, counts, jnp.float32(0))


def strided(valid: Bool[ArrayLike, " n"], side: int) -> Groups:
  """Offsets within windows of side x side, as in the authors' code.

  The instances fill a square raster row by row. It is as small as can be, and
  padded with zeros to whole windows; these count in the means and as keys. (The
  authors' code takes another size of window below 10 instances; this does not.)

  Args:
    valid: False for padding, which comes last.
    side: of a window; there are m = side^2 groups.
  """
  count = jnp.sum(jnp.float32(valid))
  windows = jnp.ceil(jnp.ceil(jnp.sqrt(count)) / side).astype(jnp.int32)
  width = windows * side
  number = jnp.arange(len(jnp.asarray(valid)), dtype=jnp.int32)
  row, column = number // width, number % width
  of = row % side * side + column % side
  divisor = jnp.full(side**2, windows**2, jnp.float32)
  return Groups(of, divisor, jnp.float32(width**2) - count)


def means(
  vectors: Float[ArrayLike, "n d"], valid: Bool[ArrayLike, " n"], groups: Groups
) -> Float[jax.Array, "m d"]:
  """The token of each group; 0 of a group that is not there."""
  vectors = jnp.where(jnp.asarray(valid)[:, None], vectors, 0.0)
  divisor = jnp.asarray(groups.divisor)
  sums = jax.ops.segment_sum(vectors, groups.of, len(divisor))
  return sums / jnp.maximum(divisor, 1.0)[:, None]
