"""Pictures of scenes: pieces of photographs, tinted, textured and pasted.

The photographs come with scikit-image and scikit-learn (the `demo` extra).
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt8
import numpy as np

from protojax.datasets import scene_pieces
from protojax.datasets.dialogue_world import TYPES, Scenes
from protojax.datasets.scene_pieces import Pieces
from protojax.types import Array, ArrayLike

SIDE = 64  # of a picture, in pixels
# Red, green and blue of the colours, 0..1.
_COLOURS = {
  "red": (0.95, 0.15, 0.12),
  "green": (0.12, 0.8, 0.2),
  "blue": (0.15, 0.3, 0.95),
  "yellow": (0.98, 0.9, 0.1),
}
_SIZES = {"small": 14.0, "medium": 20.0, "large": 27.0}  # pixels
_BACKGROUNDS = {
  "white": (0.93, 0.93, 0.93),
  "black": (0.08, 0.08, 0.08),
  "orange": (0.95, 0.55, 0.1),
  "purple": (0.5, 0.15, 0.6),
}
_REACH = 19.0  # pixels from the middle to the place 1
_DARK = 0.4  # factor of stripes and dots
_BLOCK = 4  # pixels of a mosaic
_LUMA = (0.299, 0.587, 0.114)


def paint(scenes: Scenes) -> UInt8[np.ndarray, "n S S 3"]:
  """Pictures of scenes; the larger things are farther behind."""
  if not scenes.size:
    return np.zeros((0, SIDE, SIDE, 3), np.uint8)
  pieces = scene_pieces.pieces(TYPES)
  return np.asarray(_painted(pieces, *jax.tree.map(jnp.asarray, scenes)))


@jax.jit
def _painted(
  pieces: Pieces,
  there: Bool[ArrayLike, "n t"],
  attributes: Int[ArrayLike, "n t a"],
  whole: Int[ArrayLike, "n w"],
  at: Float[ArrayLike, "n t 2"],
) -> UInt8[Array, "n S S 3"]:
  one = functools.partial(_picture, pieces)
  return jax.vmap(one)(there, attributes, whole, at)


def _picture(pieces, there, attributes, whole, at) -> UInt8[Array, "S S 3"]:
  colours, grounds, sizes = (
    jnp.asarray(list(x.values())) for x in (_COLOURS, _BACKGROUNDS, _SIZES)
  )
  background, style = whole
  canvas = jnp.broadcast_to(grounds[background], (SIDE, SIDE, 3))
  side = sizes[attributes[:, 1]]

  def paste(canvas, thing):
    light, cover = _laid(
      pieces, thing, attributes[thing, 2], side[thing], at[thing]
    )
    colour = colours[attributes[thing, 0]][None, None]
    tinted = colour * (0.2 + 0.8 * light[..., None])
    cover = (cover * there[thing])[..., None]
    return canvas + cover * (tinted - canvas), None

  canvas, _ = jax.lax.scan(paste, canvas, jnp.argsort(-side))
  grey = jnp.broadcast_to(
    jnp.einsum("hwc,c->hw", canvas, jnp.asarray(_LUMA))[..., None], canvas.shape
  )
  blocks = canvas.reshape(SIDE // _BLOCK, _BLOCK, SIDE // _BLOCK, _BLOCK, 3)
  mosaic = jnp.broadcast_to(blocks.mean((1, 3), keepdims=True), blocks.shape)
  styles = jnp.stack([canvas, grey, mosaic.reshape(canvas.shape)])
  return jnp.round(255 * jnp.clip(styles[style], 0, 1)).astype(jnp.uint8)


def _laid(pieces, thing, texture, side, at):
  """Light and opacity of a thing at each pixel of the picture."""
  middle = (SIDE - 1) / 2 + _REACH * at
  pixels = jnp.arange(SIDE)
  x, y = ((pixels - middle[k]) / side + 0.5 for k in (0, 1))
  rows, columns = (
    jnp.clip(
      (z * scene_pieces.SIDE).astype(jnp.int32), 0, scene_pieces.SIDE - 1
    )
    for z in (y, x)
  )
  inside = ((y >= 0) & (y < 1))[:, None] & ((x >= 0) & (x < 1))[None]
  light = pieces.level[thing][rows[:, None], columns[None]]
  cover = pieces.opacity[thing][rows[:, None], columns[None]] * inside
  # In pixels of the picture, so that they are seen at every size.
  wide = (pixels // 2) % 2 == 0
  stripes = jnp.broadcast_to(wide[:, None], light.shape)
  dots = ((pixels % 4 < 2)[:, None]) & (pixels % 4 < 2)[None]
  dark = jnp.stack([jnp.zeros_like(stripes), stripes, dots])[texture]
  return jnp.where(dark, _DARK * light, light), cover
