"""Warps and crops of images on the device, and the matrices of warps.

`transforms` draws them at random. Points are homogeneous (x, y, 1); x and y run
from -1 to 1 between the outer edges of an image. A matrix maps points of the
result to points of the image. The matrices zoom in as far as Augmentor's do, so
that no border shows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float
import numpy as np


def warp(
  image: Float[Array, "H W 3"], matrix: Float[Array, "3 3"]
) -> Float[Array, "H W 3"]:
  """Projective warp, bilinear; outside the image, the border is repeated.

  Args:
    image: pixels.
    matrix: maps points of the result to points of the image.
  """
  height, width, _ = image.shape
  y, x = jnp.meshgrid(_centres(height), _centres(width), indexing="ij")
  places = jnp.stack([x, y, jnp.ones_like(x)])
  u, v, w = jnp.einsum(
    "ij,jhw->ihw", matrix, places, precision=jax.lax.Precision.HIGHEST
  )
  column = jnp.clip(((u / w + 1) * width - 1) / 2, 0, width - 1)
  row = jnp.clip(((v / w + 1) * height - 1) / 2, 0, height - 1)
  left = jnp.minimum(column.astype(jnp.int32), width - 2)
  top = jnp.minimum(row.astype(jnp.int32), height - 2)
  right_share = (column - left)[..., None]
  bottom_share = (row - top)[..., None]
  # By flat index, the four neighbours are gathered in half the time.
  flat = image.reshape(height * width, 3)
  at = top * width + left
  upper = flat[at] * (1 - right_share) + flat[at + 1] * right_share
  lower = (
    flat[at + width] * (1 - right_share) + flat[at + width + 1] * right_share
  )
  return upper * (1 - bottom_share) + lower * bottom_share


def crop(
  image: Float[Array, "H W 3"], box: Float[Array, "4"]
) -> Float[Array, "H W 3"]:
  """Enlarges a box of the image to the size of the image, bilinear.

  Two products with interpolation matrices and no gather: fast on every device.

  Args:
    image: pixels.
    box: left, top, width and height as shares of the image.
  """
  height, width, _ = image.shape
  rows = _interpolation(box[1], box[3], height)
  columns = _interpolation(box[0], box[2], width)
  # HIGHEST: TF32 would round grey levels to multiples of 1/8.
  return jnp.einsum(
    "ij,jkc,lk->ilc", rows, image, columns, precision=jax.lax.Precision.HIGHEST
  )


def rotation(angle: Float[ArrayLike, ""]) -> Float[Array, "3 3"]:
  """Matrix of a rotation by an angle in radians, within pi/4 either way.

  It crops as Augmentor's `RotateRange` does: less than the largest box that
  fits, and a little wider than high.
  """
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  tan = jnp.abs(sin / cos)
  canvas = cos + jnp.abs(sin)  # side of the square around the turned image
  left = tan * canvas * (1 - tan)
  top = tan * (canvas - left)
  across, down = canvas - 2 * left, canvas - 2 * top
  return _matrix(
    [[cos * across, -sin * down, 0], [sin * across, cos * down, 0], [0, 0, 1]]
  )


def tilt(share: Float[ArrayLike, ""]) -> Float[Array, "3 3"]:
  """Matrix of Augmentor's TILT: both ends of a side move out by a share of it.

  Here it is the right side, of which 1 / (1 + 2 share) remains to be seen.
  """
  c = share / (1 + share)
  return _matrix([[1, 0, c], [0, 1 - c, 0], [c, 0, 1]])


def corner(share: Float[ArrayLike, ""]) -> Float[Array, "3 3"]:
  """Matrix of Augmentor's CORNER: a corner moves out by a share of the side.

  Here the upper left corner moves to the left. Every point is a weighted sum of
  the three other corners; the upper right one, (1, -1, 1), gets more weight.
  """
  weight = jnp.array([0.0, -0.5, 0.5])  # 1 at that corner, 0 at the two below
  return jnp.eye(3) + share * jnp.outer(jnp.array([1.0, -1, 1]), weight)


def shear(angle: Float[ArrayLike, ""]) -> Float[Array, "3 3"]:
  """Matrix that moves rows along x: the sides lean by an angle in radians."""
  m = jnp.tan(angle)
  return _matrix([[1 - jnp.abs(m), m, 0], [0, 1, 0], [0, 0, 1]])


def symmetries() -> Float[np.ndarray, "8 3 3"]:
  """Matrices of the eight symmetries of a square."""
  mirrors = [np.diag([x, y, 1.0]) for x in (1, -1) for y in (1, -1)]
  exchanged = np.eye(3)[[1, 0, 2]]
  return np.stack([*mirrors, *(mirror @ exchanged for mirror in mirrors)])


def _matrix(rows: list[list]) -> Array:
  return jnp.stack([jnp.stack([jnp.float32(x) for x in row]) for row in rows])


def _centres(size: int) -> Array:
  return (2 * jnp.arange(size) + 1) / size - 1


def _interpolation(start: Array, length: Array, size: int) -> Array:
  """Matrix [size, size] that samples `size` points on a stretch of an axis."""
  at = (start + length * (jnp.arange(size) + 0.5) / size) * size - 0.5
  at = jnp.clip(at, 0, size - 1)
  return jnp.maximum(1 - jnp.abs(at[:, None] - jnp.arange(size)[None]), 0)
