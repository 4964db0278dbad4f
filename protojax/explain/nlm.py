"""Texture removal: non-local means in Lab, as OpenCV computes it.

The modification "texture" of `perturb`. Its reference is OpenCV's
fastNlMeansDenoisingColored with a 7 x 7 template and a 21 x 21 search window,
which works on integers throughout; so does this, and the bytes are the same.
"""

import functools

import jax
from jax import Array, lax
import jax.numpy as jnp
from jaxtyping import UInt8
import numpy as np

from protojax.explain import lab
from protojax.types import ArrayLike

_TEMPLATE = 3  # pixels from the middle of a template to its border
_SEARCH = 10  # pixels from a pixel to the farthest it is averaged with
_FULL_WEIGHT = (2**31 - 1) // ((2 * _SEARCH + 1) ** 2 * 255)

# Half of the search window: the weight of offset -o at pixel p + o is that of
# offset o at pixel p, and the middle has full weight.
_OFFSETS = np.array(
  [
    (y, x)
    for y in range(_SEARCH + 1)
    for x in range(-_SEARCH, _SEARCH + 1)
    if (y, x) > (0, 0)
  ],
  np.int32,
)


def smooth(
  images: UInt8[ArrayLike, "b H W 3"], strength: float
) -> UInt8[Array, "b H W 3"]:
  """Averages away weak, fine texture: L alone, then a and b together.

  Args:
    images: RGB.
    strength: h, in grey levels; templates that differ by more than about
      h^2 ln(1000) in mean square do not meet. 0 leaves the image as it is.
  """
  if strength == 0:
    return jnp.asarray(images)
  planes = jnp.moveaxis(lab.rgb_to_lab(images), -1, 1)
  lightness = non_local_means(planes[:, :1], strength)
  colour = non_local_means(planes[:, 1:], strength)
  planes = jnp.concatenate([lightness, colour], axis=1)
  return lab.lab_to_rgb(jnp.moveaxis(planes, 1, -1))


def non_local_means(
  planes: UInt8[ArrayLike, "b c H W"], strength: float
) -> UInt8[Array, "b c H W"]:
  """Mean over the search window, weighted by how alike the templates are.

  The weight of a pair of pixels is exp(-D / (h^2 c)) with D the mean squared
  difference of their templates, summed over the c planes; Buades et al. (2005)
  in the integer form of OpenCV. The border is reflected without repeating it.
  """
  return jax.vmap(functools.partial(_denoise, strength=strength))(
    jnp.asarray(planes)
  )


def _denoise(
  planes: UInt8[Array, "c H W"], strength: float
) -> UInt8[Array, "c H W"]:
  """One image.

  Only template distances below `limit` have a weight. All sums are cut there,
  which keeps them exact where it matters and, at the strengths in use, within
  16 bits: twice the pixels per instruction.

  A step of the scan works on five offsets at once, each one stage further:
  squared differences, their sums down, along, the weights, the averages. The
  stages meet in the carry because the compiler would otherwise compute each
  sum's seven terms anew for every pixel: measured 4 times slower.
  """
  c, height, width = planes.shape
  weights = _weights(strength, c)
  limit = 64 * (len(weights) - 1)
  dtype = jnp.uint16 if 4 * limit < 2**16 else jnp.uint32
  padded = _reflect(planes)
  # Pixels whose weight is wanted: the image's, and those that reach it by an
  # offset, above it and either left or right of it.
  tall, wide = height + _SEARCH, width + _SEARCH
  around = 2 * _TEMPLATE

  def squares(offset):
    y, x = offset
    left = jnp.where(x > 0, 0, _SEARCH)
    shape = (c, tall + around, wide + around)
    here = lax.dynamic_slice(padded, (0, 0, left), shape)
    there = lax.dynamic_slice(padded, (0, y, left + x), shape)
    apart = jnp.maximum(here, there) - jnp.minimum(here, there)
    apart = apart.astype(dtype)
    return _cut_sum(jnp.minimum(apart * apart, limit), limit)

  def average(total, norm, weight, offset):
    y, x = offset
    left = jnp.where(x > 0, _SEARCH, 0)
    for sign, start in ((1, (_SEARCH, left)), (-1, (_SEARCH - y, left - x))):
      part = lax.dynamic_slice(weight, start, (height, width))
      part = part.astype(jnp.uint32)
      corner = _TEMPLATE + _SEARCH
      value = lax.dynamic_slice(
        padded, (0, corner + sign * y, corner + sign * x), planes.shape
      )
      total += part[None] * value.astype(jnp.uint32)
      norm += part
    return total, norm

  def step(carry, offset):
    total, norm, squared, down, along, weight, offsets = carry
    total, norm = average(total, norm, weight, offsets[-1])
    return (
      total,
      norm,
      squares(offset),
      _sum_of_seven(squared, 0, limit),
      _sum_of_seven(down, 1, limit),
      jnp.asarray(weights)
      .at[(along >> 6).astype(jnp.int32)]
      .get(mode="promise_in_bounds"),
      jnp.concatenate([offset[None], offsets[:-1]]),
    ), None

  # The stages start on nothing: distances at the limit, weights of zero.
  start = (
    planes.astype(jnp.uint32) * np.uint32(_FULL_WEIGHT),
    jnp.full((height, width), _FULL_WEIGHT, jnp.uint32),
    jnp.full((tall + around, wide + around), limit, dtype),
    jnp.full((tall, wide + around), limit, dtype),
    jnp.full((tall, wide), limit, dtype),
    jnp.zeros((tall, wide), weights.dtype),
    jnp.zeros((4, 2), jnp.int32),
  )
  flush = np.zeros((4, 2), np.int32)
  (total, norm, *_), _ = lax.scan(
    step, start, np.concatenate([_OFFSETS, flush])
  )
  return ((total + (norm >> 1)[None]) // norm[None]).astype(jnp.uint8)


def _sum_of_seven(values: Array, axis: int, limit: int) -> Array:
  """Sums of seven neighbours, cut at `limit`; the axis loses six."""
  count = values.shape[axis] - 6
  terms = [lax.slice_in_dim(values, i, i + count, axis=axis) for i in range(7)]
  # Cut half-way too: seven terms would leave 16 bits.
  head = jnp.minimum(terms[0] + terms[1] + terms[2] + terms[3], limit)
  return jnp.minimum(head + terms[4] + terms[5] + terms[6], limit)


def _cut_sum(planes: Array, limit: int) -> Array:
  """Sum over the one or two planes, cut at `limit`, in their own type."""
  total = planes[0]
  for plane in planes[1:]:
    total = jnp.minimum(total + plane, limit)
  return total


def _reflect(planes: Array) -> Array:
  """The planes with a border of both windows, mirrored about the last pixel."""
  border = _TEMPLATE + _SEARCH
  rows, columns = (
    np.pad(np.arange(size), border, mode="reflect") for size in planes.shape[1:]
  )
  return planes[:, rows][:, :, columns]


@functools.cache
def _weights(strength: float, planes: int) -> np.ndarray:
  """Weight by the template's distance over 64 (not 49), up to the first 0."""
  distance = np.arange(planes * 49 * 255**2 // 64 + 2) * 64 / 49
  exact = _FULL_WEIGHT * np.exp(-distance / (strength**2 * planes))
  weights = np.rint(exact)
  weights[weights < 0.001 * _FULL_WEIGHT] = 0
  weights[-1] = 0
  return weights[: np.argmin(weights) + 1].astype(np.uint16)
