"""Matrices of warps, which move points of the result to points of the image.

`transforms` draws them at random, and `geometry` applies them. Those after
Augmentor zoom in as far as it does, so that no border shows.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float
import numpy as np


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


def affine(
  angle: Float[ArrayLike, ""], lean: Float[ArrayLike, ""]
) -> Float[Array, "3 3"]:
  """Matrix of torchvision's RandomAffine: rotates and shears, does not zoom.

  The image is sheared along x by an angle, then rotated clockwise.
  """
  cos, sin, m = jnp.cos(angle), jnp.sin(angle), jnp.tan(lean)
  return _matrix([[cos - sin * m, sin + cos * m, 0], [-sin, cos, 0], [0, 0, 1]])


def mirror(flipped: Bool[ArrayLike, ""]) -> Float[Array, "3 3"]:
  """Matrix that exchanges left and right, or none."""
  return jnp.where(flipped, jnp.diag(jnp.array([-1.0, 1, 1])), jnp.eye(3))


def zoom(box: Float[Array, "4"]) -> Float[Array, "3 3"]:
  """Matrix that enlarges a box to the size of the image.

  Args:
    box: left, top, width and height as shares of the image.
  """
  left, top, width, height = box
  return _matrix(
    [
      [width, 0, 2 * left + width - 1],
      [0, height, 2 * top + height - 1],
      [0, 0, 1],
    ]
  )


def symmetries() -> Float[np.ndarray, "8 3 3"]:
  """Matrices of the eight symmetries of a square."""
  mirrors = [np.diag([x, y, 1.0]) for x in (1, -1) for y in (1, -1)]
  exchanged = np.eye(3)[[1, 0, 2]]
  return np.stack([*mirrors, *(mirror @ exchanged for mirror in mirrors)])


def _matrix(rows: list[list]) -> Array:
  return jnp.stack([jnp.stack([jnp.float32(x) for x in row]) for row in rows])
