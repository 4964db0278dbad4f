"""The modification "texture": non-local means in Lab, as OpenCV computes it.

The reference is OpenCV's fastNlMeansDenoisingColored, by default with a 7 x 7
template and a 21 x 21 search window. It computes with integers; so does this
module, and the bytes are the same.
"""

import functools

import jax
from jax import Array, lax
import jax.numpy as jnp
from jaxtyping import Int, UInt8
import numpy as np

from protojax.modify import lab
from protojax.types import ArrayLike


def smooth(
  images: UInt8[ArrayLike, "b H W 3"],
  strength: float,
  template: int = 7,
  search: int = 21,
  sizes: Int[ArrayLike, "b 2"] | None = None,
) -> UInt8[Array, "b H W 3"]:
  """Averages weak, fine texture away: in L, then in a and b together.

  Args:
    images: RGB.
    strength: h, in grey levels; templates have no weight if their mean squared
      difference is above about h^2 ln(1000). 0 changes nothing.
    template, search: sides of the two windows in pixels; an even number stands
      for the next odd one.
    sizes: true height and width of images with padding at the bottom and at
      the right; the image is reflected at these borders.
  """
  if strength == 0:
    return jnp.asarray(images)
  planes = jnp.moveaxis(lab.rgb_to_lab(images), -1, 1)
  denoise = functools.partial(
    non_local_means,
    strength=strength,
    template=template,
    search=search,
    sizes=sizes,
  )
  planes = jnp.concatenate([denoise(planes[:, :1]), denoise(planes[:, 1:])], 1)
  return lab.lab_to_rgb(jnp.moveaxis(planes, 1, -1))


def non_local_means(
  planes: UInt8[ArrayLike, "b c H W"],
  strength: float,
  template: int = 7,
  search: int = 21,
  sizes: Int[ArrayLike, "b 2"] | None = None,
) -> UInt8[Array, "b c H W"]:
  """Mean over the search window, weighted by how alike the templates are.

  The weight of a pair of pixels is exp(-D / (h^2 c)) with D the mean squared
  difference of their templates, summed over the c planes; Buades et al. (2005)
  in the integer form of OpenCV. The border is reflected without repeating it.

  Args:
    planes: c planes that are denoised together.
    strength, template, search, sizes: see `smooth`.
  """
  planes = jnp.asarray(planes)
  denoise = functools.partial(
    _denoise, strength=strength, template=template // 2, search=search // 2
  )
  if sizes is None:
    size = jnp.array(planes.shape[2:])
    return jax.vmap(denoise, in_axes=(0, None))(planes, size)
  return jax.vmap(denoise)(planes, jnp.asarray(sizes))


def _denoise(
  planes: UInt8[Array, "c H W"],
  size: Int[Array, "2"],
  *,
  strength: float,
  template: int,
  search: int,
) -> UInt8[Array, "c H W"]:
  """Denoises one image; `template` and `search` are half sides of the windows.

  Only template distances below `limit` have a weight. All sums are clipped to
  `limit`: below it they stay exact, and at the usual strengths they fit 16
  bits, which doubles the pixels per instruction.

  A step of the scan works on five offsets, each at another stage: squared
  differences, their sums along y, their sums along x, weights, averages. The
  carry holds the results between stages. Without it the compiler computes the
  terms of each sum again for every pixel, which was 4 times slower. Each plane
  is an array, because a loop over planes runs at a third of the speed.
  """
  c, height, width = planes.shape
  full = (2**31 - 1) // ((2 * search + 1) ** 2 * 255)
  shift, weights = _weights(strength, c, template, full)
  limit = (len(weights) - 1) << shift
  dtype = jnp.uint16 if 4 * limit < 2**16 else jnp.uint32
  padded = tuple(_reflect(planes, size, template + search))
  # Weights are needed for pixels of the image, and for pixels that an offset
  # moves into it: above it, and left or right of it.
  tall, wide = height + search, width + search
  around = 2 * template

  def squares(offset):
    y, x = offset
    left = jnp.where(x > 0, 0, search)
    shape = (tall + around, wide + around)
    terms = []
    for plane in padded:
      here = lax.dynamic_slice(plane, (0, left), shape)
      there = lax.dynamic_slice(plane, (y, left + x), shape)
      apart = jnp.maximum(here, there) - jnp.minimum(here, there)
      apart = apart.astype(dtype)
      terms.append(jnp.minimum(apart * apart, limit))
    return jnp.minimum(sum(terms[1:], start=terms[0]), limit)

  def average(totals, norm, weight, offset):
    y, x = offset
    left = jnp.where(x > 0, search, 0)
    corner = template + search
    for sign, start in ((1, (search, left)), (-1, (search - y, left - x))):
      part = lax.dynamic_slice(weight, start, (height, width))
      part = part.astype(jnp.uint32)
      place = (corner + sign * y, corner + sign * x)
      values = (lax.dynamic_slice(p, place, (height, width)) for p in padded)
      totals = tuple(
        total + part * value.astype(jnp.uint32)
        for total, value in zip(totals, values, strict=True)
      )
      norm += part
    return totals, norm

  def step(carry, offset):
    totals, norm, squared, down, along, weight, offsets = carry
    totals, norm = average(totals, norm, weight, offsets[-1])
    return (
      totals,
      norm,
      squares(offset),
      _window_sum(squared, 0, around + 1, limit),
      _window_sum(down, 1, around + 1, limit),
      jnp.asarray(weights)
      .at[(along >> shift).astype(jnp.int32)]
      .get(mode="promise_in_bounds"),
      jnp.concatenate([offset[None], offsets[:-1]]),
    ), None

  # At the start all distances are at the limit and all weights are zero.
  start = (
    tuple(planes.astype(jnp.uint32) * np.uint32(full)),
    jnp.full((height, width), full, jnp.uint32),
    jnp.full((tall + around, wide + around), limit, dtype),
    jnp.full((tall, wide + around), limit, dtype),
    jnp.full((tall, wide), limit, dtype),
    jnp.zeros((tall, wide), weights.dtype),
    jnp.zeros((4, 2), jnp.int32),
  )
  flush = np.zeros((4, 2), np.int32)
  (totals, norm, *_), _ = lax.scan(
    step, start, np.concatenate([_offsets(search), flush])
  )
  means = [(total + (norm >> 1)) // norm for total in totals]
  return jnp.stack(means).astype(jnp.uint8)


def _window_sum(values: Array, axis: int, window: int, limit: int) -> Array:
  """Sums over windows along an axis, clipped to `limit`."""
  count = values.shape[axis] - window + 1
  total, *others = (
    lax.slice_in_dim(values, i, i + count, axis=axis) for i in range(window)
  )
  # Clipped after every three: more than four terms do not fit 16 bits.
  for i in range(0, len(others), 3):
    total = jnp.minimum(sum(others[i : i + 3], start=total), limit)
  return total


def _reflect(planes: Array, size: Array, border: int) -> Array:
  """The planes with a border, mirrored at the last true pixel."""

  def places(padded: int, true: Array) -> Array:
    period = jnp.maximum(2 * (true - 1), 1)
    place = jnp.abs(jnp.arange(-border, padded + border)) % period
    return jnp.minimum(place, period - place)

  rows = places(planes.shape[1], size[0])
  columns = places(planes.shape[2], size[1])
  return planes[:, rows][:, :, columns]


def _offsets(search: int) -> np.ndarray:
  """Half of the search window, without its middle, which has full weight.

  The weight of offset -o at pixel p + o is that of offset o at pixel p.
  """
  y, x = np.mgrid[: search + 1, -search : search + 1].astype(np.int32)
  return np.stack([y, x], -1).reshape(-1, 2)[search + 1 :]


@functools.cache
def _weights(
  strength: float, planes: int, template: int, full: int
) -> tuple[int, np.ndarray]:
  """The shift, and weights by the shifted sum of squares, up to the first 0.

  OpenCV divides the sum by a power of two, 64 for 49 pixels, not by the number
  of pixels.
  """
  pixels = (2 * template + 1) ** 2
  shift = (pixels - 1).bit_length()
  count = (planes * pixels * 255**2 >> shift) + 2
  distance = np.arange(count) * 2**shift / pixels
  weights = np.rint(full * np.exp(-distance / (strength**2 * planes)))
  weights[weights < 0.001 * full] = 0
  weights[-1] = 0
  weights = weights[: np.argmin(weights) + 1]
  return shift, weights.astype(np.uint16 if full < 2**16 else np.uint32)
