"""Whether pictures of `scene_world` show what their captions say.

The judge knows how things look and nothing of the model that drew them: patches
of colour on a grey ground, each compared with all outlines, tints and textures.
"""

from collections.abc import Sequence
import functools
from typing import NamedTuple

from jaxtyping import Bool, Float, UInt8
import numpy as np
from scipy import ndimage

from protojax.datasets import scene_world
from protojax.datasets.scene_world import COLOURS, TEXTURES, TYPES
from protojax.text import pairs, vocabulary

# (max - min) / max of the channels above which a pixel is of a thing, and the
# least such pixels of one.
_SATURATION, _PIXELS = 0.35, 20
_SIDES = range(10, 16)
_SHIFTS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
# Pixels by which a patch may be larger or smaller than an outline, and overlap
# below the best one at which an outline still counts.
_OFF, _NEAR = 2, 0.1


class Thing(NamedTuple):
  """What was seen, by name."""

  type: str
  colour: str
  texture: str


class Score(NamedTuple):
  """Of pictures.

  Attributes:
    pairs: share of the things of each caption that its picture shows.
    strict: whether it shows all of them.
  """

  pairs: Float[np.ndarray, " n"]
  strict: Bool[np.ndarray, " n"]


def score(
  images: UInt8[np.ndarray, "n S S 3"], captions: Sequence[str]
) -> Score:
  """Compares pictures with captions: type, colour and texture of each thing."""
  share = [
    _share(seen(image), wanted(caption))
    for image, caption in zip(images, captions, strict=True)
  ]
  found = np.array(share, float)
  return Score(found, found == 1)


def wanted(caption: str) -> list[Thing]:
  """The things that a caption names; one without a texture is plain."""
  words = vocabulary.split(caption)
  found = []
  for pair in pairs.by_rule(words):
    own = [words[i] for i in pair.attributes]
    colour = next(w for w in own if w in COLOURS)
    texture = next((w for w in own if w in TEXTURES), TEXTURES[0])
    found.append(Thing(words[pair.noun], colour, texture))
  return found


def _share(there: Sequence[Thing], asked: Sequence[Thing]) -> float:
  rest = list(there)
  hits = 0
  for thing in asked:
    if thing in rest:
      rest.remove(thing)
      hits += 1
  return hits / len(asked)


def seen(image: UInt8[np.ndarray, "S S 3"]) -> list[Thing]:
  """The things of a clear scene."""
  pixels = image / 255.0
  most, least = pixels.max(-1), pixels.min(-1)
  coloured = (most - least) > _SATURATION * np.maximum(most, 0.05)
  number, count = ndimage.label(coloured, np.ones((3, 3)))
  found = []
  for i in range(1, count + 1):
    own = number == i
    if own.sum() >= _PIXELS:
      found.append(_named(pixels, own))
  return found


def _named(
  pixels: Float[np.ndarray, "S S 3"], own: Bool[np.ndarray, "S S"]
) -> Thing:
  tints = np.array(list(COLOURS.values()))
  tints = tints / np.linalg.norm(tints, axis=1, keepdims=True)
  colour = int(np.argmax(tints @ pixels[own].mean(0)))
  light = pixels @ tints[colour]
  # What cannot be told apart by its outline is by how light it is inside.
  outlines = _outlined(own)
  most = max(overlap for overlap, *_ in outlines)
  fits = []
  for overlap, kind, side, y, x in outlines:
    if overlap < most - _NEAR:
      continue
    for texture in range(len(TEXTURES)):
      tinted, opaque = scene_world.thing(kind, colour, texture, side)
      template = (tinted @ tints[colour])[opaque]
      shown = light[_placed(own.shape, opaque, y, x)]
      gain = template @ shown / max(template @ template, 1e-9)
      error = np.sum((shown - gain * template) ** 2) / np.sum(shown**2)
      fits.append((error, kind, texture))
  _, kind, texture = min(fits)
  return Thing(TYPES[kind], tuple(COLOURS)[colour], TEXTURES[texture])


def _placed(shape, opaque, y, x):
  """Rows and columns of the pixels of an outline, kept inside the picture."""
  rows, columns = np.nonzero(opaque)
  return (
    np.clip(rows + y, 0, shape[0] - 1),
    np.clip(columns + x, 0, shape[1] - 1),
  )


def _outlined(
  own: Bool[np.ndarray, "S S"],
) -> list[tuple[float, int, int, int, int]]:
  """Overlap (IoU), type, side, row and column of outlines about as large."""
  top, left, high, wide = _box(own)
  found = []
  for kind in range(len(TYPES)):
    for side in _SIDES:
      opaque = _outline(kind, side)
      above, beside, tall, broad = _box(opaque)
      if abs(tall - high) > _OFF or abs(broad - wide) > _OFF:
        continue
      for dy, dx in _SHIFTS:
        y, x = top - above + dy, left - beside + dx
        inside = own[_placed(own.shape, opaque, y, x)].sum()
        union = opaque.sum() + own.sum() - inside
        found.append((inside / union, kind, side, y, x))
  # A patch that is like nothing is called what is first.
  return found or [(0.0, 0, _SIDES[0], top, left)]


def _box(plane: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
  """Row, column, height and width of what is True."""
  rows, columns = np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0))
  return (
    int(rows[0]),
    int(columns[0]),
    int(np.ptp(rows)) + 1,
    int(np.ptp(columns)) + 1,
  )


@functools.cache
def _outline(kind: int, side: int) -> Bool[np.ndarray, "s s"]:
  return scene_world.thing(kind, 0, 0, side)[1]
