"""Blurs of a camera: out of focus, through frosted glass, in motion.

As Hendrycks & Dietterich ("Benchmarking neural network robustness to common
corruptions and perturbations", ICLR 2019) have them. Images are single ones,
0..1; lengths are in pixels.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.modify import corruptions
from protojax.types import Array


def defocused(
  image: Float[Array, "H W c"], radius: float, sigma: float
) -> Float[Array, "H W c"]:
  """Each point becomes a disc with a soft rim; borders are mirrored.

  Args:
    image: 0..1.
    radius: of the disc.
    sigma: of the Gaussian that softens its rim.
  """
  return _filtered(image, _disc(radius, sigma))


def through_glass(
  image: Float[Array, "H W c"],
  key: Array,
  sigma: float,
  reach: int,
  rounds: int,
) -> Float[Array, "H W c"]:
  """Blurs, moves pixels about, and blurs again.

  In each round a pixel takes the value of one that lies -reach to reach - 1
  rows and columns away. The authors swap two pixels at a time, one after the
  other; here all move at once, so that a value may be there twice or no more.

  Args:
    image: 0..1.
    key: of the moves.
    sigma: of both blurs.
    reach: how far a pixel comes from; pixels so near to the border stay.
    rounds: of moves.
  """
  height, width, _ = image.shape
  x = _blurred(image, sigma)
  rows, columns = jnp.mgrid[:height, :width]
  inside = (rows >= reach) & (rows < height - reach)
  inside &= (columns >= reach) & (columns < width - reach)
  for own in jax.random.split(key, rounds):
    moves = jax.random.randint(own, (2, height, width), -reach, reach)
    dy, dx = jnp.where(inside, moves, 0)
    x = x[rows + dy, columns + dx]
  return _blurred(x, sigma)


def moved(
  image: Float[Array, "H W c"],
  angle: Float[Array, ""] | float,
  radius: float,
  sigma: float,
) -> Float[Array, "H W c"]:
  """A trace of each point to one side; beyond the border, it is repeated.

  The weight of the i-th pixel of a trace is exp(-i² / 2 sigma²), i = 0 to
  2 radius, as ImageMagick's motion blur has it.

  Args:
    image: 0..1.
    angle: of the trace, in radians.
    radius: half the length of the trace.
    sigma: of its weights.
  """
  taps = np.arange(2 * math.ceil(radius) + 1)
  weights = np.exp(-(taps**2) / (2 * sigma**2))
  weights = jnp.asarray(weights / weights.sum(), jnp.float32)
  # Halves go down, as in ImageMagick.
  down = jnp.ceil(taps * jnp.sin(angle) - 0.5).astype(jnp.int32)
  across = jnp.ceil(taps * jnp.cos(angle) - 0.5).astype(jnp.int32)
  height, width, _ = image.shape

  def add(found: Array, tap: tuple) -> tuple[Array, None]:
    weight, dy, dx = tap
    rows = jnp.clip(jnp.arange(height) + dy, 0, height - 1)
    columns = jnp.clip(jnp.arange(width) + dx, 0, width - 1)
    return found + weight * image[rows][:, columns], None

  nothing = jnp.zeros_like(image)
  return jax.lax.scan(add, nothing, (weights, down, across))[0]


def _blurred(image: Array, sigma: float) -> Array:
  radius = max(1, math.ceil(4 * sigma))
  return corruptions.blurred(image[None], sigma, radius)[0]


def _disc(radius: float, sigma: float) -> Float[np.ndarray, "k k"]:
  """The kernel: a disc, softened by a Gaussian of 3 or 5 taps, of sum 1."""
  soft = 1 if radius <= 8 else 2
  reach = max(1, math.ceil(radius)) + soft
  at = np.arange(-reach, reach + 1)
  disc = (at[:, None] ** 2 + at[None] ** 2 <= radius**2).astype(np.float64)
  taps = np.exp(-(np.arange(-soft, soft + 1) ** 2) / (2 * sigma**2))
  taps /= taps.sum()
  for axis in (0, 1):
    disc = np.apply_along_axis(np.convolve, axis, disc, taps, "same")
  return disc / disc.sum()


def _filtered(
  image: Float[Array, "H W c"], kernel: Float[np.ndarray, "k k"]
) -> Float[Array, "H W c"]:
  """Correlates each channel with a kernel; mirrored without the border."""
  reach = len(kernel) // 2
  height, width, _ = image.shape
  # An image may be smaller than the kernel: mirrored as often as it takes.
  rows, columns = (_mirrored(n, reach) for n in (height, width))
  planes = jnp.moveaxis(image[rows][:, columns], -1, 0)[:, None]
  found = jax.lax.conv_general_dilated(
    planes,
    jnp.asarray(kernel, image.dtype)[None, None],
    (1, 1),
    "VALID",
    precision=jax.lax.Precision.HIGHEST,
  )
  return jnp.moveaxis(found[:, 0], 0, -1)


def _mirrored(size: int, reach: int) -> np.ndarray:
  """Positions of an axis continued by `reach` on both sides."""
  return np.pad(np.arange(size), reach, mode="reflect" if size > 1 else "edge")
