"""Fixed sines and cosines: of a token's place, and of a time."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

_LONGEST = 10_000.0


def grid_positions(
  rows: int, columns: int, channels: int
) -> Float[np.ndarray, "l d"]:
  """The position of each cell of a grid, row by row (DiT, MAE).

  The first half of the channels tells the column, the second the row; each half
  holds sines and then cosines.

  Raises:
    ValueError: the channels do not divide by four.
  """
  if channels % 4:
    raise ValueError(f"channels is {channels}: take a multiple of 4")
  quarter = channels // 4
  frequencies = _LONGEST ** -(np.arange(quarter) / quarter)
  row, column = np.divmod(np.arange(rows * columns), columns)
  angles = [np.outer(place, frequencies) for place in (column, row)]
  waves = [f(a) for a in angles for f in (np.sin, np.cos)]
  return np.concatenate(waves, axis=1).astype(np.float32)


def time_waves(
  t: Float[Array, " b"], frequencies: int = 256
) -> Float[Array, "b f"]:
  """Cosines and then sines of times of the order of 1000 (DiT, ADM).

  Args:
    t: times, which need not be whole.
    frequencies: number of waves, even.
  """
  half = frequencies // 2
  rates = jnp.exp(-math.log(_LONGEST) * jnp.arange(half) / half)
  angles = t[:, None] * rates[None]
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1)
