"""The importance of each cell of an image, from the boxes of a person."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax.types import ArrayLike


def importance_map(
  boxes_pos: Float[ArrayLike, "n 4"],
  boxes_neg: Float[ArrayLike, "m 4"],
  alpha: float | jax.Array,
  grid: tuple[int, int],
) -> Float[jax.Array, "h w"]:
  """The importance of every cell (CSR, A of eq. 12).

  1 in a positive box; 0 in a negative box, also where both overlap. The rest is
  `alpha` if there is a positive box, otherwise 1. A box covers the cells whose
  centres lie in it, and always the cell at its own centre.

  Args:
    boxes_pos: (top, left, bottom, right) in shares of the image; a box without
      area is padding.
    boxes_neg: the same.
    alpha: in [0, 1].
    grid: rows and columns of the cells.
  """
  positive, negative = _covered(boxes_pos, grid), _covered(boxes_neg, grid)
  rest = jnp.where(jnp.any(positive), alpha, 1.0)
  return jnp.where(negative, 0.0, jnp.where(positive, 1.0, rest))


def _covered(
  boxes: Float[ArrayLike, "n 4"], grid: tuple[int, int]
) -> Bool[jax.Array, "h w"]:
  """The cells of at least one box."""
  top, left, bottom, right = jnp.moveaxis(jnp.asarray(boxes), -1, 0)[
    :, :, None, None
  ]
  height, width = grid
  rows, columns = jnp.arange(height)[None, :, None], jnp.arange(width)
  columns = columns[None, None]
  y, x = (rows + 0.5) / height, (columns + 0.5) / width
  inside = (top <= y) & (y < bottom) & (left <= x) & (x < right)
  own = _cell((top + bottom) / 2, height) == rows
  own &= _cell((left + right) / 2, width) == columns
  real = (top < bottom) & (left < right)
  return jnp.any(real & (inside | own), axis=0)


def _cell(share: jax.Array, cells: int) -> jax.Array:
  return jnp.clip(jnp.floor(share * cells), 0, cells - 1)
