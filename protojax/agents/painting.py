"""Pictures of scenes: pieces of photographs, tinted, textured and pasted.

The photographs come with scikit-image and scikit-learn (the `demo` extra).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt8
import numpy as np
from PIL import Image

from protojax.agents.scenes import (
  ATTRIBUTES,
  EQUAL,
  TYPES,
  WHOLE,
  Scenes,
  Weights,
)
from protojax.datasets import photos
from protojax.types import Array, ArrayLike

SIDE = 64  # of a picture, in pixels
_SPRITE = 32  # side of a piece, in pixels
# Photograph, and left, top, width, height of the piece in its pixels.
_PIECES = {
  "coin": ("coins", (305, 16, 59, 56)),
  "cup": ("coffee", (175, 15, 240, 200)),
  "cat": ("chelsea", (70, 5, 300, 285)),
  "rocket": ("rocket", (296, 118, 52, 292)),
  "wheel": ("stereo_motorcycle", (118, 235, 156, 165)),
  "flower": ("flower", (170, 86, 276, 276)),
  "temple": ("china", (60, 30, 310, 360)),
  "crater": ("moon", (90, 58, 60, 58)),
}
_UPRIGHT = ("rocket", "temple")  # the whole piece; of others an ellipse
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


class _Pieces(NamedTuple):
  """Grey levels and opacity of each type, 0..1 [t s s]."""

  level: np.ndarray
  opacity: np.ndarray


@functools.cache
def _pieces() -> _Pieces:
  levels = []
  for name in TYPES:
    photograph, (left, top, width, height) = _PIECES[name]
    pixels = photos.photograph(photograph)
    piece = pixels[top : top + height, left : left + width]
    grey = Image.fromarray(np.ascontiguousarray(piece)).convert("L")
    # A tall piece stays tall: it is laid into the middle of a square.
    scale = _SPRITE / max(grey.size)
    size = [max(1, round(n * scale)) for n in grey.size]
    small = np.asarray(grey.resize(size, Image.Resampling.BOX), np.float32)
    low, high = np.percentile(small, (2, 98))
    canvas = np.full((_SPRITE, _SPRITE), np.nan, np.float32)
    y, x = ((_SPRITE - n) // 2 for n in small.shape)
    canvas[y : y + small.shape[0], x : x + small.shape[1]] = np.clip(
      (small - low) / (high - low), 0, 1
    )
    levels.append(canvas)
  level = np.stack(levels)
  whole = np.array([name in _UPRIGHT for name in TYPES])[:, None, None]
  opacity = np.isfinite(level) & (whole | (_ellipses(level) <= 1))
  return _Pieces(np.nan_to_num(level), opacity.astype(np.float32))


def _ellipses(level: np.ndarray) -> np.ndarray:
  """Squared distance from the middle, 1 at the ellipse that fits a piece."""
  at = (np.arange(_SPRITE) + 0.5) / _SPRITE * 2 - 1
  width = np.isfinite(level).any(1).sum(1) / _SPRITE
  height = np.isfinite(level).any(2).sum(1) / _SPRITE
  x = at[None, None, :] / width[:, None, None]
  y = at[None, :, None] / height[:, None, None]
  return x**2 + y**2


def paint(scenes: Scenes) -> UInt8[np.ndarray, "n S S 3"]:
  """Pictures of scenes; the larger things are farther behind."""
  if not scenes.size:
    return np.zeros((0, SIDE, SIDE, 3), np.uint8)
  pieces = _pieces()
  return np.asarray(_painted(pieces, *jax.tree.map(jnp.asarray, scenes)))


@jax.jit
def _painted(
  pieces: _Pieces,
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
    jnp.clip((z * _SPRITE).astype(jnp.int32), 0, _SPRITE - 1) for z in (y, x)
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


def weights(scenes: Scenes, count: int = 64) -> Weights:
  """How far pictures change, on average, when a factor of a scene changes.

  A thing is taken away, an attribute or the whole takes its next value, and two
  things change places. The mean absolute difference of the pixels is divided by
  the largest one of the things, the attributes, or the rest, each.

  Args:
    scenes: of the training split.
    count: how many of them are painted.
  """
  some = jax.tree.map(lambda x: x[:count], scenes)
  before = paint(some).astype(np.float32)

  def change(which: Bool[np.ndarray, " n"], **changed) -> float:
    after = paint(some._replace(**changed)).astype(np.float32)
    return float(np.abs(after - before)[which].mean()) if which.any() else 0.0

  things, attributes, whole = {}, {}, {}
  for t, name in enumerate(TYPES):
    there = some.there.copy()
    there[:, t] = False
    things[name] = change(some.there[:, t], there=there)
  for a, (name, values) in enumerate(ATTRIBUTES.items()):
    codes = some.attributes.copy()
    codes[..., a] = (codes[..., a] + 1) % len(values)
    attributes[name] = change(some.there.any(1), attributes=codes)
  for w, (name, values) in enumerate(WHOLE.items()):
    codes = some.whole.copy()
    codes[:, w] = (codes[:, w] + 1) % len(values)
    whole[name] = change(np.ones(some.size, bool), whole=codes)
  moved = change(some.there.sum(1) > 1, at=-some.at)
  largest = max(*whole.values(), *things.values(), moved)
  most = max(attributes.values())
  return EQUAL._replace(
    things={k: v / largest for k, v in things.items()},
    attributes={**{k: v / most for k, v in attributes.items()}},
    whole={k: v / largest for k, v in whole.items()},
    relation=moved / largest,
  )
