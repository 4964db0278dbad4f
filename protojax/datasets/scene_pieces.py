"""Pieces of photographs, in grey levels, to compose scenes of.

The photographs come with scikit-image and scikit-learn (the `demo` extra).
"""

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image

from protojax.datasets.photographs import photograph

SIDE = 32  # of a piece, in pixels
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


class Pieces(NamedTuple):
  """Grey levels and opacity of each piece, 0..1 [t s s]."""

  level: np.ndarray
  opacity: np.ndarray


@functools.cache
def pieces(types: tuple[str, ...]) -> Pieces:
  """The pieces of these names.

  Raises:
    UserError: the package that holds a photograph is not installed.
  """
  levels = []
  for name in types:
    of, (left, top, width, height) = _PIECES[name]
    pixels = photograph(of)
    piece = pixels[top : top + height, left : left + width]
    grey = Image.fromarray(np.ascontiguousarray(piece)).convert("L")
    # A tall piece stays tall: it is laid into the middle of a square.
    scale = SIDE / max(grey.size)
    size = [max(1, round(n * scale)) for n in grey.size]
    small = np.asarray(grey.resize(size, Image.Resampling.BOX), np.float32)
    low, high = np.percentile(small, (2, 98))
    canvas = np.full((SIDE, SIDE), np.nan, np.float32)
    y, x = ((SIDE - n) // 2 for n in small.shape)
    canvas[y : y + small.shape[0], x : x + small.shape[1]] = np.clip(
      (small - low) / (high - low), 0, 1
    )
    levels.append(canvas)
  level = np.stack(levels)
  whole = np.array([name in _UPRIGHT for name in types])[:, None, None]
  opacity = np.isfinite(level) & (whole | (_ellipses(level) <= 1))
  return Pieces(np.nan_to_num(level), opacity.astype(np.float32))


def _ellipses(level: np.ndarray) -> np.ndarray:
  """Squared distance from the middle, 1 at the ellipse that fits a piece."""
  at = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
  width = np.isfinite(level).any(1).sum(1) / SIDE
  height = np.isfinite(level).any(2).sum(1) / SIDE
  x = at[None, None, :] / width[:, None, None]
  y = at[None, :, None] / height[:, None, None]
  return x**2 + y**2
