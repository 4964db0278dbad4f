"""The modification "shape": moves pixels, and loses none.

`sine` is from the reference implementation, `bars` from the paper's first
version. Images may have padding at the bottom and at the right: pixels move
inside the true height and width, and the padding stays.
"""

from collections.abc import Callable

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Int, UInt8
import numpy as np

from protojax.types import ArrayLike

# (y, x, height, width) -> (y, x) where this pixel comes from.
_Origin = Callable[[Array, Array, Array, Array], tuple[Array, Array]]


def sine(
  images: UInt8[ArrayLike, "b H W 3"],
  amplitude: float,
  frequency: float,
  sizes: Int[ArrayLike, "b 2"] | None = None,
) -> UInt8[Array, "b H W 3"]:
  """Shifts rows along x, then columns along y.

  Row y moves by s(y) = int(amplitude sin(pi frequency y)) pixels; what leaves
  at one border enters at the other. Then column x moves by s(x).
  """
  positions = np.arange(max(images.shape[1:3]))
  shifts = amplitude * np.sin(np.pi * positions * frequency)
  shift = jnp.asarray(shifts.astype(np.int32))

  def origin(y, x, height, width):
    row = (y - shift[x]) % height
    return row, (x - shift[row]) % width

  return _moved(images, origin, sizes)


def bars(
  images: UInt8[ArrayLike, "b H W 3"],
  distance: int,
  count: int,
  seed: int,
  sizes: Int[ArrayLike, "b 2"] | None = None,
) -> UInt8[Array, "b H W 3"]:
  """Shifts horizontal bars, in turn to the right and to the left.

  The image is cut into `count` bands of height // count rows. In each band the
  upper rows, half to all of them, move by half to all of `distance` pixels.
  Both are drawn from the seed, the same for every image. Rows below the last
  band stay.
  """
  draw = np.random.default_rng(seed)
  moves = draw.integers((distance + 1) // 2, distance + 1, count)
  moves[1::2] *= -1
  moves = jnp.asarray(moves, jnp.int32)
  shares = jnp.asarray(draw.integers(0, 2**16, count), jnp.int32)

  def origin(y, x, height, width):
    rows = height // count
    bar = jnp.minimum(y // jnp.maximum(rows, 1), count - 1)
    half = (rows + 1) // 2
    upper = half + ((rows - half + 1) * shares[bar] >> 16)
    inside = y - bar * rows < upper
    return y, (x - jnp.where(inside, moves[bar], 0)) % width

  return _moved(images, origin, sizes)


def _moved(
  images: UInt8[ArrayLike, "b H W 3"],
  origin: _Origin,
  sizes: Int[ArrayLike, "b 2"] | None,
) -> UInt8[Array, "b H W 3"]:
  images = jnp.asarray(images)
  height, width = images.shape[1:3]
  y, x = jnp.mgrid[:height, :width]

  def one(image, size):
    row, column = origin(y, x, size[0], size[1])
    inside = (y < size[0]) & (x < size[1])
    place = jnp.where(inside, row * width + column, y * width + x)
    return image.reshape(-1, 3)[place]

  if sizes is None:
    size = jnp.array([height, width])
    return jax.vmap(one, in_axes=(0, None))(images, size)
  return jax.vmap(one)(images, jnp.asarray(sizes))
