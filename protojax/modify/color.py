"""Modifications of contrast, saturation, hue and brightness, as in Pillow.

The reference implementation changes colours with torchvision's ColorJitter on
Pillow images, whose C code computes in fixed point, float and double. Scores
are differences, so every backend must give the same bytes: what depends on the
rounding of floats is looked up in tables that NumPy makes here, and the device
only adds and compares.
"""

import functools

from jax import Array
import jax.numpy as jnp
from jaxtyping import Int, Int32, UInt8
import numpy as np

from protojax.types import ArrayLike, UserError


def contrast(
  images: UInt8[ArrayLike, "b H W 3"],
  factor: float,
  sizes: Int[ArrayLike, "b 2"] | None = None,
) -> UInt8[Array, "b H W 3"]:
  """Blends an image with the mean of its luma, one grey for all its pixels.

  Args:
    images: RGB.
    factor: 1 changes nothing, 0 leaves the grey.
    sizes: true height and width of images with padding at the bottom and at
      the right; the mean leaves the padding out.
  """
  return blend(_mean(luma(images), sizes), images, factor)


def contrast_luma(
  images: UInt8[ArrayLike, "b H W 3"],
  factor: float,
  sizes: Int[ArrayLike, "b 2"] | None = None,
) -> UInt8[Array, "b H W 3"]:
  """Blends the luma of an image with its mean, and leaves its chroma.

  `contrast` also pulls colours towards grey, so it contains a change of
  saturation. Here Y becomes m + factor (Y - m), truncated to a whole level as
  in `blend`. The change of Y is added to red, green and blue, and the sums are
  clipped to 0..255.
  """
  before = luma(images)
  after = _blend(_mean(before, sizes)[..., 0], before, factor)
  moved = jnp.asarray(images, jnp.int32) + (after - before)[..., None]
  return jnp.clip(moved, 0, 255).astype(jnp.uint8)


def saturation(
  images: UInt8[ArrayLike, "b H W 3"], factor: float
) -> UInt8[Array, "b H W 3"]:
  """Blends every pixel with its own luma."""
  return blend(luma(images)[..., None], images, factor)


def brightness(
  images: UInt8[ArrayLike, "b H W 3"], factor: float
) -> UInt8[Array, "b H W 3"]:
  """Blends every pixel with black."""
  return blend(jnp.zeros((1, 1, 1, 1), jnp.int32), images, factor)


def hue(
  images: UInt8[ArrayLike, "b H W 3"], turn: float
) -> UInt8[Array, "b H W 3"]:
  """Turns the hue by int(255 turn) steps through 8-bit HSV.

  A step is 1/255 of a turn, but the byte wraps at 256, as in torchvision. The
  conversion to 8-bit HSV and back alone changes colours by up to 6 levels; with
  0 steps it is left out.
  """
  steps = int(turn * 255) % 256
  if steps == 0:
    return jnp.asarray(images)
  hsv = rgb_to_hsv(images)
  turned = ((hsv[..., 0].astype(jnp.int32) + steps) % 256).astype(jnp.uint8)
  return hsv_to_rgb(jnp.stack([turned, hsv[..., 1], hsv[..., 2]], axis=-1))


def blend(
  start: Int32[Array, "#b #H #W 1"],
  images: UInt8[ArrayLike, "b H W 3"],
  factor: float,
) -> UInt8[Array, "b H W 3"]:
  """start + factor (images - start), in float32, truncated to whole levels."""
  mixed = _blend(start, jnp.asarray(images, jnp.int32), factor)
  return mixed.astype(jnp.uint8)


def _blend(start: Array, end: Array, factor: float) -> Array:
  """`blend` for integers of any shape.

  The products come from a table. A compiler may fuse product and sum and then
  round once where C rounds twice; truncation makes a whole level of that.
  """
  levels = np.arange(-255, 256, dtype=np.float32)
  products = jnp.asarray(np.float32(factor) * levels)
  mixed = start + products[end - start + 255]
  return jnp.clip(mixed, 0, 255).astype(jnp.int32)


def _mean(
  luma_: Int32[Array, "b H W"], sizes: Int[ArrayLike, "b 2"] | None
) -> Int32[Array, "b 1 1 1"]:
  """Mean over the true height and width of each image, halves rounded up."""
  b, height, width = luma_.shape
  if height * width >= 2**24:
    raise UserError(
      f"image of {height} x {width} pixels: the sum of its luma does not fit "
      "32 bits; use less than 2^24 pixels"
    )
  if sizes is None:
    pixels = jnp.full(b, height * width, jnp.uint32)
  else:
    rows, columns = jnp.asarray(sizes, jnp.uint32).T
    pixels = rows * columns
    y, x = jnp.mgrid[:height, :width].astype(jnp.uint32)[:, None]
    inside = (y < rows[:, None, None]) & (x < columns[:, None, None])
    luma_ = jnp.where(inside, luma_, 0)
  total = jnp.sum(luma_, axis=(1, 2), dtype=jnp.uint32)
  mean = (total + pixels // 2) // pixels
  return mean.astype(jnp.int32).reshape(b, 1, 1, 1)


def luma(images: UInt8[ArrayLike, "b H W 3"]) -> Int32[Array, "b H W"]:
  """Luma in 0..255: ITU-R 601 in 16-bit fixed point, Pillow's mode L."""
  red, green, blue = _channels(images)
  return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def rgb_to_hsv(images: UInt8[ArrayLike, "b H W 3"]) -> UInt8[Array, "b H W 3"]:
  """8-bit hue, saturation and value, Pillow's mode HSV."""
  red, green, blue = _channels(images)
  value = jnp.maximum(jnp.maximum(red, green), blue)
  chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
  # The first of the largest channels gives the third of the circle; the
  # difference of the other two gives the place in it.
  third = jnp.where(red == value, 0, jnp.where(green == value, 1, 2))
  apart = jnp.stack([green - blue, blue - red, red - green])
  apart = jnp.where(
    third == 0, apart[0], jnp.where(third == 1, apart[1], apart[2])
  )
  hues, saturations = _hsv_tables()
  hue_ = jnp.asarray(hues)[(third * 256 + chroma) * 511 + apart + 255]
  saturation_ = jnp.asarray(saturations)[value * 256 + chroma]
  return jnp.stack([hue_, saturation_, value.astype(jnp.uint8)], axis=-1)


def hsv_to_rgb(images: UInt8[ArrayLike, "b H W 3"]) -> UInt8[Array, "b H W 3"]:
  """RGB of 8-bit HSV, as Pillow rounds it.

  Pillow rounds V (1 - S/255 f) with f = 6H/255 - floor(6H/255) in floats. The
  exact value is a fraction over 255 * 85, an odd number. So it is never
  half-way between two integers, and farther from half-way than the floats'
  error: integers give the same bytes.
  """
  hue_, saturation_, value = _channels(images)
  sector = 6 * hue_ // 255
  rest = 2 * hue_ % 85
  unit = 255 * 85

  def less(part: Array) -> Array:
    return (2 * value * (unit - saturation_ * part) + unit) // (2 * unit)

  lowest, falling, rising = (
    less(jnp.full_like(rest, 85)),
    less(rest),
    less(85 - rest),
  )
  by_sector = (
    (value, rising, lowest),
    (falling, value, lowest),
    (lowest, value, rising),
    (lowest, falling, value),
    (rising, lowest, value),
    (value, lowest, falling),
  )
  masks = [sector % 6 == i for i in range(6)]
  red, green, blue = (
    jnp.select(masks, list(plane)) for plane in zip(*by_sector, strict=True)
  )
  return jnp.stack([red, green, blue], axis=-1).astype(jnp.uint8)


def _channels(
  images: UInt8[ArrayLike, "b H W 3"],
) -> tuple[Array, Array, Array]:
  wide = jnp.asarray(images, jnp.int32)
  return wide[..., 0], wide[..., 1], wide[..., 2]


@functools.cache
def _hsv_tables() -> tuple[np.ndarray, np.ndarray]:
  """Hue by (third, chroma, difference), saturation by (value, chroma); flat.

  In the types of Pillow's C code: quotients are float, sums with a constant
  such as 6.0 are double, and results are stored as float.
  """
  chroma = np.maximum(np.arange(256, dtype=np.float32), 1)
  apart = np.arange(-255, 256, dtype=np.float32)[None]
  share = (chroma[:, None] - np.abs(apart)) / chroma[:, None]
  first = np.where(apart >= 0, np.float32(1), share)
  second = np.where(apart >= 0, share, np.float32(1))
  turns = np.stack(
    [
      first - second,
      (2.0 + first.astype(np.float64) - second).astype(np.float32),
      (4.0 + first.astype(np.float64) - second).astype(np.float32),
    ]
  ).astype(np.float64)
  turns = np.fmod(turns / 6.0 + 1.0, 1.0).astype(np.float32)
  hues = (turns.astype(np.float64) * 255.0).astype(np.int32)
  hues[:, 0] = 0

  value = chroma[:, None]
  ratio = np.arange(256, dtype=np.float32)[None] / value
  saturations = (ratio.astype(np.float64) * 255.0).astype(np.int32)
  saturations[:, 0] = 0
  hue, saturation = (
    np.clip(table, 0, 255).astype(np.uint8).ravel()
    for table in (hues, saturations)
  )
  return hue, saturation
