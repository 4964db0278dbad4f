"""The modifications: one visual characteristic of an image changed at a time.

`importance` compares how similar an image is to a prototype before and after
each of them. All are pure functions of bytes, run on the device inside the
jitted explanation, and follow the reference implementation of "Explaining
Prototypes" (Nauta et al., arXiv 2011.02863) to the last bit.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Int32, UInt8
import numpy as np

from protojax.explain import color, nlm
from protojax.types import ArrayLike, UserError


@dataclasses.dataclass(frozen=True)
class Strengths:
  """How far each modification goes; the defaults are the reference's.

  Attributes:
    contrast: factor of the blend with the mean grey; 1 changes nothing.
    saturation: factor of the blend with the pixel's grey; 1 changes nothing.
    hue: part of a turn, -0.5 to 0.5; 0 changes nothing.
    shape: amplitude of the sine warp in pixels; 0 changes nothing.
    shape_frequency: half periods of the warp per pixel.
    texture: h of the non-local means, in grey levels; 0 changes nothing.
    brightness: factor of the blend with black; 1 changes nothing.
  """

  contrast: float = 0.45
  saturation: float = 0.7
  hue: float = 0.1
  shape: float = 4.0
  shape_frequency: float = 0.05
  texture: float = 4.0
  brightness: float = 0.8

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      low, high = (-0.5, 0.5) if field.name == "hue" else (0.0, np.inf)
      if not (low <= value <= high and np.isfinite(value)):
        raise UserError(
          f"strength {field.name}={value} is out of range; use a finite "
          f"number from {low} to {high}"
        )


REFERENCE = Strengths()

# The paper's five, in the order of the reference implementation.
CHARACTERISTICS = ("contrast", "saturation", "hue", "shape", "texture")

# Axis m of every score: the control first, then the five, then brightness,
# which the reference computes but does not count among the characteristics.
MODIFICATIONS = ("identity", *CHARACTERISTICS, "brightness")


@functools.partial(jax.jit, static_argnames=("name", "strengths"))
def modify(
  images: UInt8[ArrayLike, "b H W 3"],
  name: str,
  strengths: Strengths = REFERENCE,
) -> UInt8[Array, "b H W 3"]:
  """Images with one characteristic changed and all else left as it was.

  Args:
    images: RGB at the size the network sees.
    name: one of `MODIFICATIONS`; "identity" changes nothing.
    strengths: how far to go; hashable, so that it is fixed under jit.

  Raises:
    UserError: there is no modification of that name.
  """
  if name not in _CHANGES:
    raise UserError(
      f"unknown modification {name!r}; use one of {', '.join(MODIFICATIONS)}"
    )
  return _CHANGES[name](jnp.asarray(images), strengths)


def warp(
  images: UInt8[ArrayLike, "b H W 3"], amplitude: float, frequency: float
) -> UInt8[Array, "b H W 3"]:
  """Sine warp: rows shifted around along x, then columns along y.

  Row y moves by s(y) = int(amplitude sin(pi frequency y)) pixels and comes in
  again at the other border; after that column x by s(x). No pixel is lost.
  """
  b, height, width, channels = images.shape
  source = jnp.asarray(_warp_source(height, width, amplitude, frequency))
  flat = jnp.asarray(images).reshape(b, height * width, channels)
  return flat[:, source].reshape(images.shape)


def _warp_source(
  height: int, width: int, amplitude: float, frequency: float
) -> Int32[np.ndarray, "pixels"]:
  """Where in the image, read row by row, each warped pixel comes from."""
  positions = np.arange(max(height, width))
  shift = (amplitude * np.sin(np.pi * positions * frequency)).astype(np.int32)
  y, x = np.mgrid[:height, :width]
  row = (y - shift[x]) % height
  column = (x - shift[row]) % width
  return (row * width + column).ravel().astype(np.int32)


_CHANGES: Mapping[str, Callable[[Array, Strengths], Array]] = {
  "identity": lambda images, _: images,
  "contrast": lambda images, s: color.contrast(images, s.contrast),
  "saturation": lambda images, s: color.saturation(images, s.saturation),
  "hue": lambda images, s: color.hue(images, s.hue),
  "shape": lambda images, s: warp(images, s.shape, s.shape_frequency),
  "texture": lambda images, s: nlm.smooth(images, s.texture),
  "brightness": lambda images, s: color.brightness(images, s.brightness),
}
