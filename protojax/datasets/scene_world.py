"""A world of things with attributes: what a scene holds, and how it looks.

A thing is a piece of a photograph, cut to an outline, tinted and textured. A
scene has one thing in each of some quarters of its square, so that things never
hide one another, on grey texture, in a condition such as snow. All is exact:
mask, box and caption of each thing. The photographs come with scikit-image and
scikit-learn (the `demo` extra).
"""

import functools
from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
import numpy as np
from PIL import Image

from protojax.datasets import photographs, scene_pieces

TYPES = ("cup", "cat", "rocket", "wheel", "flower", "temple")
# Red, green and blue of each colour, 0..1.
COLOURS = {
  "red": (0.9, 0.1, 0.1),
  "orange": (0.95, 0.55, 0.05),
  "yellow": (0.95, 0.92, 0.1),
  "green": (0.1, 0.7, 0.15),
  "cyan": (0.1, 0.85, 0.9),
  "blue": (0.15, 0.25, 0.95),
  "purple": (0.55, 0.1, 0.75),
  "pink": (1.0, 0.45, 0.75),
}
TEXTURES = ("plain", "striped", "dotted")
CONDITIONS = ("clear", "snow", "fog", "night")
SIDE = 32  # of a scene, in pixels
MOST = 4  # things in a scene: one in each quarter
_QUARTER = SIDE // 2
_SMALLEST, _LARGEST = 11, 14  # pixels
_DARK = 0.35  # factor of stripes and dots
_GROUNDS = ("brick", "grass", "gravel")
# Grey levels of the ground: far from all tints, which are not grey.
_GREY, _CONTRAST = 0.5, 0.35


class Scene(NamedTuple):
  """Of m things; codes are places in `TYPES` and so on.

  Attributes:
    types, colours, textures: of each thing.
    corners: row and column of its upper left pixel.
    sides: in pixels; a thing fits a square.
    condition: of the scene.
    seed: of its ground and weather.
  """

  types: Int[np.ndarray, " m"]
  colours: Int[np.ndarray, " m"]
  textures: Int[np.ndarray, " m"]
  corners: Int[np.ndarray, "m 2"]
  sides: Int[np.ndarray, " m"]
  condition: int = 0
  seed: tuple[int, ...] = (0,)


class Picture(NamedTuple):
  """What a scene looks like.

  Attributes:
    image: of the scene.
    masks: of each thing.
  """

  image: UInt8[np.ndarray, "S S 3"]
  masks: Bool[np.ndarray, "m S S"]


def draw(
  generator: np.random.Generator,
  least: int,
  most: int,
  conditions: tuple[int, ...],
  seed: tuple[int, ...],
) -> Scene:
  """A scene of `least` to `most` things, all attributes alike.

  The types of a scene are different.
  """
  count = int(generator.integers(least, most + 1))
  quarters = generator.permutation(MOST)[:count]
  sides = generator.integers(_SMALLEST, _LARGEST + 1, count)
  # A pixel of ground around each, so that no two touch.
  room = _QUARTER - 1 - sides
  inside = generator.integers(1, room[:, None] + 1, (count, 2))
  corners = np.stack([quarters // 2, quarters % 2], -1) * _QUARTER + inside
  return Scene(
    generator.permutation(len(TYPES))[:count],
    generator.integers(len(COLOURS), size=count),
    generator.integers(len(TEXTURES), size=count),
    corners,
    sides,
    int(generator.choice(conditions)),
    seed,
  )


def caption(scene: Scene) -> str:
  """As in "a red cup and a blue striped cat in the snow"."""
  names = tuple(COLOURS)
  things = []
  for kind, colour, texture in zip(
    scene.types, scene.colours, scene.textures, strict=True
  ):
    article = "an" if names[colour] == "orange" else "a"
    words = [article, names[colour], TEXTURES[texture], TYPES[kind]]
    things.append(" ".join(w for w in words if w != TEXTURES[0]))
  found = " and ".join(things)
  if scene.condition:
    found += f" in the {CONDITIONS[scene.condition]}"
  return found


# All that captions are made of.
WORDS = (
  *("a", "an", "and", "in", "the"),
  *COLOURS,
  *TEXTURES[1:],
  *TYPES,
  *CONDITIONS[1:],
)


def picture(scene: Scene, split: str) -> Picture:
  """Draws a scene; the grounds of training and other splits differ."""
  generator = np.random.default_rng(scene.seed)
  name = _GROUNDS[int(generator.integers(len(_GROUNDS)))]
  crop = photographs.half_crop(name, split, SIDE, generator) / 255.0
  level = _GREY + _CONTRAST * (crop.mean(-1) - crop.mean())
  canvas = np.repeat(level[..., None], 3, axis=-1)
  masks = np.zeros((len(scene.types), SIDE, SIDE), bool)
  for i in range(len(scene.types)):
    side = int(scene.sides[i])
    tinted, opaque = thing(
      int(scene.types[i]), int(scene.colours[i]), int(scene.textures[i]), side
    )
    y, x = scene.corners[i]
    place = slice(y, y + side), slice(x, x + side)
    canvas[place] = np.where(opaque[..., None], tinted, canvas[place])
    masks[(i, *place)] = opaque
  canvas = weathered(canvas, scene.condition, generator)
  return Picture(np.rint(255 * np.clip(canvas, 0, 1)).astype(np.uint8), masks)


@functools.cache
def thing(
  kind: int, colour: int, texture: int, side: int
) -> tuple[Float[np.ndarray, "s s 3"], Bool[np.ndarray, "s s"]]:
  """Pixels 0..1 of a thing in its square, and where it is."""
  pieces = scene_pieces.pieces(TYPES)
  plane, there = pieces.level[kind], pieces.opacity[kind] > 0
  rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
  plane = plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
  whole = Image.fromarray(plane).resize((side, side), Image.Resampling.BOX)
  light, opaque = np.asarray(whole), _outline(TYPES[kind], side)
  tint = np.asarray(tuple(COLOURS.values())[colour])
  shown = 0.35 + 0.65 * light
  rows, columns = np.indices((side, side))
  dark = (
    np.zeros_like(opaque),
    rows % 4 < 2,
    (rows % 4 < 2) & (columns % 4 < 2),
  )[texture]
  shown = np.where(dark, _DARK * shown, shown)
  return shown[..., None] * tint, opaque


def _outline(name: str, side: int) -> Bool[np.ndarray, "s s"]:
  """The pixels of a type: no two types have one outline."""
  at = np.abs((np.arange(side) + 0.5) / side * 2 - 1)
  y, x = at[:, None], at[None]
  radius = np.hypot(y, x)
  return {
    "cup": np.hypot(1.6 * y, x) <= 1,
    "cat": radius <= 1,
    "rocket": (x <= 0.4) & (y <= 1),
    "wheel": (radius <= 1) & (radius >= 0.5),
    "flower": y + x <= 1,
    "temple": (y <= 0.9) & (x <= 0.9),
  }[name]


def weathered(
  canvas: Float[np.ndarray, "H W 3"],
  condition: int,
  generator: np.random.Generator,
) -> Float[np.ndarray, "H W 3"]:
  """A scene in a condition: flakes, a veil, or darkness."""
  name = CONDITIONS[condition]
  if name == "snow":
    flakes = generator.random(canvas.shape[:2]) < 0.08
    canvas = 0.8 * canvas + 0.2
    return np.where(flakes[..., None], 0.97, canvas)
  if name == "fog":
    depth = np.linspace(0.65, 0.35, len(canvas))[:, None, None]
    return canvas + depth * (0.85 - canvas)
  if name == "night":
    return canvas * np.array([0.3, 0.32, 0.45])
  return canvas
