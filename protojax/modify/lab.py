"""Linear RGB to 8-bit Lab and back, in OpenCV's fixed-point arithmetic.

`nlm` denoises in this space. As in OpenCV's colour denoiser the bytes are read
as linear light (COLOR_LRGB2Lab, no sRGB curve), so L of a mid grey is far above
50. All numbers are integers, so every backend gives the same bytes; both
directions equal OpenCV on all 2^24 colours.
"""

import functools

from jax import Array
import jax.numpy as jnp
from jaxtyping import UInt8
import numpy as np

from protojax.types import ArrayLike

_RGB_TO_XYZ = np.array(
  [
    [0.412453, 0.357580, 0.180423],
    [0.212671, 0.715160, 0.072169],
    [0.019334, 0.119193, 0.950227],
  ]
)
_WHITE = np.array([0.950456, 1.0, 1.088754])  # D65
_ONE = 2**14  # fixed-point 1 of the way back
_LOWEST = -8145  # less than f(X) and f(Z) of any three bytes


def rgb_to_lab(images: UInt8[ArrayLike, "b H W 3"]) -> UInt8[Array, "b H W 3"]:
  """L * 255/100, a + 128 and b + 128 as bytes."""
  roots, matrix = _forward_tables()
  f = jnp.asarray(roots)[_descale(_mix(matrix, 8 * _wide(images)), 12)]
  fx, fy, fz = f[..., 0], f[..., 1], f[..., 2]
  lightness = (116 * 255 + 50) // 100 * fy - (16 * 255 * 2**15 + 50) // 100
  green_red = 500 * (fx - fy) + 128 * 2**15
  blue_yellow = 200 * (fy - fz) + 128 * 2**15
  lab = jnp.stack([lightness, green_red, blue_yellow], axis=-1)
  return jnp.clip(_descale(lab, 15), 0, 255).astype(jnp.uint8)


def lab_to_rgb(images: UInt8[ArrayLike, "b H W 3"]) -> UInt8[Array, "b H W 3"]:
  """RGB of 8-bit Lab, clipped to 0..255; fractions are cut off."""
  luminance, roots, cubes, matrix = _backward_tables()
  lab = _wide(images)
  lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
  fy = jnp.asarray(roots)[lightness]
  # a / 500 and b / 200 in 14 bits, by a product and a shift.
  fx = fy + ((5 * a * 53687 + 2**7) >> 13) - 128 * _ONE // 500
  fz = fy - ((b * 41943 + 2**4) >> 9) + 128 * _ONE // 200 - 1
  cubes = jnp.asarray(cubes)
  xyz = jnp.stack(
    [
      cubes[fx - _LOWEST],
      jnp.asarray(luminance)[lightness],
      cubes[fz - _LOWEST],
    ],
    axis=-1,
  )
  rgb = jnp.clip(_descale(_mix(matrix, xyz), 14), 0, 4095)
  return (255 * rgb >> 12).astype(jnp.uint8)


def _mix(matrix: np.ndarray, colours: Array) -> Array:
  """The matrix applied to the last axis, in integers."""
  return jnp.stack(
    [
      sum(int(m) * colours[..., i] for i, m in enumerate(row)) for row in matrix
    ],
    axis=-1,
  )


@functools.cache
def _forward_tables() -> tuple[np.ndarray, np.ndarray]:
  """CIE Lab's f at n / 2040 of white, in 15 bits; RGB to XYZ in 12 bits.

  Rounded through float32 as in OpenCV, which decides two near ties.
  """
  t = np.arange(3072) / 2040
  f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
  roots = np.rint((2**15 * f).astype(np.float32)).astype(np.int32)
  matrix = np.rint(2**12 * _RGB_TO_XYZ / _WHITE[:, None]).astype(np.int32)
  return roots, matrix


@functools.cache
def _backward_tables() -> tuple[np.ndarray, ...]:
  """Y and f(Y), index L; the inverse of f from `_LOWEST` on; XYZ to RGB."""
  level = np.arange(256)
  f = (level * 100 / 255 + 16) / 116
  dark = level <= 20
  luminance = np.where(dark, level * 100 / 255 * 27 / 24389, f**3)

  root = np.arange(_LOWEST, _LOWEST + 9 * _ONE // 4)
  # Division as in C, towards zero.
  line = np.trunc(root * 108 / 841).astype(np.int64)
  line -= _ONE * 16 // 116 * 108 // 841
  cubes = np.where(root <= 3390, line, root**2 // _ONE * root // _ONE)

  matrix = np.rint(2**12 * np.linalg.inv(_RGB_TO_XYZ) * _WHITE[None])
  return (
    np.rint(_ONE * luminance).astype(np.int32),
    np.rint(_ONE * f).astype(np.int32),
    cubes.astype(np.int32),
    matrix.astype(np.int32),
  )


def _wide(images: UInt8[ArrayLike, "b H W 3"]) -> Array:
  return jnp.asarray(images, jnp.int32)


def _descale(values: Array, bits: int) -> Array:
  """Fixed point to integer, rounded to the nearest, halves up."""
  return (values + (1 << (bits - 1))) >> bits
