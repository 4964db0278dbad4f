"""Reads maps between their cells, and planes of classes at another size."""

from collections.abc import Iterator

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from protojax.types import ArrayLike


def sampled(
  plane: Float[Array, "h w c"], places: Float[Array, "n 2"]
) -> Float[Array, "n c"]:
  """Values of a map at places (y, x) in cells, bilinear; zero outside.

  Args:
    plane: the map; its first cell is at 0, 0.
    places: anywhere.
  """
  height, width, channels = plane.shape
  flat = plane.reshape(height * width, channels)
  total = jnp.zeros((len(places), channels), plane.dtype)
  for at, share in corners(places, height, width):
    total += flat[at] * share[:, None]
  return total


def shares(
  numbers: Int[Array, "h w"],
  places: Float[Array, "n 2"],
  wanted: Int[Array, " t"],
) -> Float[Array, "t n"]:
  """How much of each place lies on each number of a plane, bilinear.

  What `sampled` gives for the masks `numbers == wanted`, without the masks.

  Args:
    numbers: such as the class of each cell.
    places: (y, x) in cells.
    wanted: the numbers.
  """
  flat = numbers.reshape(-1)
  total = jnp.zeros((len(wanted), len(places)))
  for at, share in corners(places, *numbers.shape):
    total += jnp.where(flat[at][None] == wanted[:, None], share[None], 0)
  return total


def corners(
  places: Float[Array, "n 2"], height: int, width: int
) -> Iterator[tuple[Int[Array, " n"], Float[Array, " n"]]]:
  """The four cells around each place: their numbers and shares.

  A cell outside of the map has a share of 0, and the number of some cell.
  """
  low = jnp.floor(places)
  share = places - low
  low = low.astype(jnp.int32)
  for dy in (0, 1):
    for dx in (0, 1):
      y, x = low[:, 0] + dy, low[:, 1] + dx
      inside: Bool[Array, " n"] = (
        (y >= 0) & (y < height) & (x >= 0) & (x < width)
      )
      rows = share[:, 0] if dy else 1 - share[:, 0]
      columns = share[:, 1] if dx else 1 - share[:, 1]
      at = jnp.where(inside, y * width + x, 0)
      yield at, jnp.where(inside, rows * columns, 0)


def nearest(
  planes: Int[ArrayLike, "b H W"], rows: int, columns: int
) -> Int[Array, "b rows columns"]:
  """Planes of classes at another size: the pixel in the middle of each cell."""
  planes = jnp.asarray(planes)
  height, width = planes.shape[1:]
  y = (2 * jnp.arange(rows) + 1) * height // (2 * rows)
  x = (2 * jnp.arange(columns) + 1) * width // (2 * columns)
  return planes[:, y][:, :, x]
