"""Embedded data whose labels have one known cause: hue, shape, texture, ...

Patches of photographs (the `demo` extra), of any content, into which one
characteristic is planted at a level that is the label; the content does not
tell it. What explanations say of a model trained on them can be checked:
`python -m protojax evaluate --planted` does. Patches for training lie in the
left 60 % of a photograph, those for testing in the right 40 %. An image is
made when it is asked for, from the seed, the split and its number.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools

from jaxtyping import Float, Int32, UInt8
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from protojax.data import images as images_lib
from protojax.data import photos
from protojax.types import UserError

COUNTS = {"train": 700, "test": 250}
SIDE = 64  # of a patch, in pixels
# The photographs in colour: of the others hue and saturation say nothing.
_PHOTOGRAPHS = (
  "astronaut",
  "chelsea",
  "china",
  "coffee",
  "flower",
  "immunohistochemistry",
  "retina",
  "rocket",
  "stereo_motorcycle",
)
# Patches have some contrast (standard deviation of luma) and some colour (mean
# distance of the largest from the smallest of red, green, blue), not very
# much: the planted level decides, not the patch.
_CONTRAST = (20, 70)
_COLOUR = (25, 110)
_LUMA = np.array([0.299, 0.587, 0.114])
_BLUR = 2.5  # sigma in pixels: no fine texture is left
# The gratings: lines so many pixels apart, and so wide (sigma).
_SPACING = 8
_WIDTH = 0.7
_WAVE = 20  # pixels from crest to crest

_Patch = UInt8[np.ndarray, "s s 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Planted:
  """A split of planted images; see `sources.Source`.

  Attributes:
    characteristic: what is planted, one of `LEVELS`.
    split: "train" or "test".
    seed: of every choice.
    skipped: none.
  """

  characteristic: str
  split: str
  seed: int
  skipped: tuple[tuple[str, str], ...] = ()

  @property
  def class_names(self) -> tuple[str, ...]:
    """The characteristic with each of its levels."""
    return tuple(
      f"{self.characteristic} {level}" for level in LEVELS[self.characteristic]
    )

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """The levels in turn."""
    count = len(LEVELS[self.characteristic])
    return (np.arange(len(self)) % count).astype(np.int32)

  def __len__(self) -> int:
    return COUNTS[self.split]

  def __getitem__(self, i: int) -> dict:
    label = int(self.labels[i])
    generator = np.random.default_rng([self.seed, len(self), i])
    patch = _patch(self.split, generator)
    level = LEVELS[self.characteristic][label]
    image = _PLANT[self.characteristic](patch, level, generator)
    return {"image": image, "label": label, "name": self.name(i)}

  def name(self, i: int) -> str:
    """The characteristic, the split and the number."""
    return f"{self.characteristic}-{self.split}-{int(i):03d}"

  def digest(self, i: int) -> UInt8[np.ndarray, "16"]:
    """Hash of the pixels of one image."""
    return images_lib.digest(self[i]["image"])


def load(characteristic: str, split: str, seed: int) -> Planted:
  """Opens a split.

  Args:
    characteristic: what the label comes from.
    split: "train" or "test".
    seed: another one gives other patches.

  Raises:
    UserError: there is no such characteristic or split, or the photographs are
      not installed.
  """
  if characteristic not in LEVELS:
    raise UserError(
      f"--config.data.characteristic={characteristic!r}: choose one of"
      f" {', '.join(LEVELS)}"
    )
  if split not in COUNTS:
    raise UserError(f"the planted data have no split {split!r}, but train and test")
  _photograph_boxes(split)  # before anything else is done
  return Planted(characteristic, split, seed)


@functools.cache
def _photograph_boxes(split: str) -> list[tuple[np.ndarray, np.ndarray]]:
  """The photographs, each with its crops of a split."""
  found = {name: photos.photograph(name) for name in _PHOTOGRAPHS}
  return [(x, photos.boxes(name, x, split)) for name, x in found.items()]


def _patch(split: str, generator: np.random.Generator) -> _Patch:
  """A part of a crop, drawn anew until it has some contrast and colour."""
  photographs = _photograph_boxes(split)
  while True:
    image, boxes = photographs[generator.integers(len(photographs))]
    x, y, width, height = boxes[generator.integers(len(boxes))]
    x += generator.integers(width - SIDE + 1)
    y += generator.integers(height - SIDE + 1)
    patch = image[y : y + SIDE, x : x + SIDE]
    colour = np.ptp(patch, axis=-1).mean()
    inside = _CONTRAST[0] <= _luma(patch).std() <= _CONTRAST[1]
    if inside and _COLOUR[0] <= colour <= _COLOUR[1]:
      return patch


def _luma(patch: _Patch) -> Float[np.ndarray, "s s"]:
  return patch @ _LUMA


def _lighter(patch: _Patch, levels: Float[np.ndarray, "s s"]) -> _Patch:
  """Every pixel so many grey levels lighter, its colour as it was."""
  changed = patch + levels[..., None]
  return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def _hue(patch: _Patch, degrees: int, generator) -> _Patch:
  """All pixels of one hue; each keeps its saturation and value."""
  del generator
  hsv = np.array(Image.fromarray(patch).convert("HSV"))
  hsv[..., 0] = round(degrees / 360 * 255)
  return np.array(Image.fromarray(hsv, "HSV").convert("RGB"))


def _saturation(patch: _Patch, factor: float, generator) -> _Patch:
  """Every pixel blended with its grey."""
  del generator
  return np.array(ImageEnhance.Color(Image.fromarray(patch)).enhance(factor))


def _contrast(patch: _Patch, factor: float, generator) -> _Patch:
  """Luma drawn towards its mean, colour as it was."""
  del generator
  luma = _luma(patch)
  return _lighter(patch, (factor - 1) * (luma - luma.mean()))


def _texture(patch: _Patch, deviation: float, generator) -> _Patch:
  """The patch out of focus, under grain of so many grey levels."""
  blurred = Image.fromarray(patch).filter(ImageFilter.GaussianBlur(_BLUR))
  grain = generator.normal(0, 1, (SIDE, SIDE))
  return _lighter(np.array(blurred), deviation * grain)


def _shape(patch: _Patch, kind: str, generator) -> _Patch:
  """Thin lines over the patch, darker or lighter, straight or wavy."""
  turn, phase, start = generator.uniform(0, 2 * np.pi, 3)
  y, x = np.mgrid[:SIDE, :SIDE]
  across = x * np.cos(turn) + y * np.sin(turn) + start / (2 * np.pi) * _SPACING
  along = y * np.cos(turn) - x * np.sin(turn)
  if kind == "wavy":
    across = across + 3 * np.sin(2 * np.pi * along / _WAVE + phase)
  off = (across + _SPACING / 2) % _SPACING - _SPACING / 2
  lines = np.exp(-((off / _WIDTH) ** 2) / 2)
  strength = generator.choice((-1, 1)) * generator.uniform(40, 80)
  return _lighter(patch, strength * lines)


LEVELS: Mapping[str, tuple] = {
  "hue": (0, 90, 180, 270),  # degrees
  "shape": ("straight", "wavy"),
  "texture": (0, 6),  # grey levels
  "contrast": (1, 0.5, 0.2),
  "saturation": (1, 0.4, 0),
}
_PLANT: Mapping[str, Callable[..., _Patch]] = {
  "hue": _hue,
  "shape": _shape,
  "texture": _texture,
  "contrast": _contrast,
  "saturation": _saturation,
}
