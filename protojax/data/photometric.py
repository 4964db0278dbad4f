"""SSD's random colours: brightness, contrast, saturation and hue, by chance.

Liu et al., ECCV 2016, as PEM and Mask2Former use them (`ColorAugSSDTransform`
of detectron2). Each of the four happens half of the time; contrast comes
second or last. Values stay real numbers, where that code cuts them to whole
ones after each change.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_BRIGHTNESS = 32.0  # levels of 255, at most
_CONTRAST = _SATURATION = (0.5, 1.5)
_HUE = 36.0  # degrees, at most: 18 steps of OpenCV's 180
# A channel's place in the circle of hues, in sixths, as HSV's formula has it.
_PLACES = (5.0, 3.0, 1.0)


class Drawn(NamedTuple):
  """What is drawn for an image; where a change is left out, what changes none.

  Attributes:
    added: to all values.
    contrast: factor of all values.
    saturated: factor of the saturation.
    turn: of the hue, in degrees.
    first: whether contrast comes before saturation and hue.
  """

  added: Float[Array, ""]
  contrast: Float[Array, ""]
  saturated: Float[Array, ""]
  turn: Float[Array, ""]
  first: Bool[Array, ""]


def draw(key: Array) -> Drawn:
  """Draws for one image."""
  for_values, for_whether, for_order = jax.random.split(key, 3)
  low = jnp.array([-_BRIGHTNESS, _CONTRAST[0], _SATURATION[0], -_HUE])
  high = jnp.array([_BRIGHTNESS, _CONTRAST[1], _SATURATION[1], _HUE])
  values = jax.random.uniform(for_values, (4,), minval=low, maxval=high)
  none = jnp.array([0.0, 1.0, 1.0, 0.0])
  chosen = jnp.where(
    jax.random.bernoulli(for_whether, shape=(4,)), values, none
  )
  added, contrast, saturated, turn = chosen
  first = jax.random.bernoulli(for_order)
  return Drawn(added, contrast, saturated, turn, first)


def changed(
  image: Float[Array, "H W 3"], drawn: Drawn
) -> Float[Array, "H W 3"]:
  """The image 0..255 with what was drawn; the range stays."""

  def contrasted(x: Array, whether: Array) -> Array:
    factor = jnp.where(whether, drawn.contrast, 1.0)
    return jnp.clip(x * factor, 0, 255)

  x = jnp.clip(image + drawn.added, 0, 255)
  x = contrasted(x, drawn.first)
  x = _turned(_saturated(x, drawn.saturated), drawn.turn)
  return contrasted(x, ~drawn.first)


def _saturated(x: Array, factor: Array) -> Array:
  """The saturation of HSV times a factor, 1 at most; hue and value stay."""
  value = jnp.max(x, axis=-1, keepdims=True)
  chroma = value - jnp.min(x, axis=-1, keepdims=True)
  most = value / jnp.maximum(chroma, 1e-6)
  return value - (value - x) * jnp.minimum(factor, most)


def _turned(x: Array, degrees: Array) -> Array:
  """The hue of HSV moved on; saturation and value stay."""
  value = jnp.max(x, axis=-1)
  chroma = value - jnp.min(x, axis=-1)
  red, green, blue = jnp.moveaxis(x, -1, 0)
  safe = jnp.maximum(chroma, 1e-6)
  sixth = jnp.where(
    value == red,
    (green - blue) / safe,
    jnp.where(
      value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe
    ),
  )
  at = sixth + degrees / 60
  channels = []
  for place in _PLACES:
    k = (place + at) % 6
    less = jnp.clip(jnp.minimum(k, 4 - k), 0, 1)
    channels.append(value - chroma * less)
  return jnp.stack(channels, axis=-1)
