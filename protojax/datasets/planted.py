"""Embedded images whose labels have one known cause: hue, shape, texture, ...

An image is a patch of a photograph (the `demo` extra). One characteristic is
planted: it is set to a level, and the level is the label. The content of the
patch says nothing about the label, and the other characteristics vary at
random. So the explanations of a model that is trained on these images can be
checked, as `python -m protojax evaluate --planted` does. Training patches lie
in the left 60 % of a photograph, test patches in the right 40 %. An image is
made when it is read, from the seed, the split and its number.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any

from jaxtyping import Float, Int, Int32, UInt8
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from protojax.datasets import photos
from protojax.types import UserError

COUNTS = {"train": 1500, "test": 300}
SIDE = 64  # of a patch, in pixels
# Photographs with detailed and coloured patches in both splits.
PHOTOGRAPHS = (
  "astronaut",
  "chelsea",
  "coffee",
  "flower",
  "immunohistochemistry",
  "rocket",
  "stereo_motorcycle",
)
# Least and most of each quarter of a patch: detail (root mean square of luma
# less blurred luma) and colour (mean of largest less smallest channel). A flat
# quarter has low contrast at any level; with much detail or colour, the patch
# decides and not the planted level.
_DETAIL = (8, 25)
_COLOUR = (25, 120)
# Every patch is set to these before anything is planted.
_MEAN_DETAIL, _MEAN_COLOUR = 16, 60
_BLUR = 2.5  # pixels, sigma: removes fine texture
# Lines of a planted shape, in pixels: from one to the next, half their width,
# height and length of their waves.
_SPACING, _WIDTH, _SWING, _WAVE = 8, 0.7, 3, 20

Patch = UInt8[np.ndarray, "s s 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Planted:
  """A split of planted images; see `source.Source`.

  Attributes:
    characteristic: what is planted, one of `LEVELS`.
    split: "train" or "test".
    seed: of all randomness.
    skipped: none.
  """

  characteristic: str
  split: str
  seed: int
  skipped: tuple[tuple[str, str], ...] = ()

  @property
  def class_names(self) -> tuple[str, ...]:
    """The characteristic with each of its levels, such as "hue 60"."""
    levels = LEVELS[self.characteristic]
    return tuple(f"{self.characteristic} {level}" for level in levels)

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """The levels in turn: 0, 1, ..., 0, 1, ..."""
    count = len(LEVELS[self.characteristic])
    return (np.arange(len(self)) % count).astype(np.int32)

  def __len__(self) -> int:
    return COUNTS[self.split]

  def __getitem__(self, i: int) -> dict:
    label = int(self.labels[i])
    generator = np.random.default_rng([self.seed, len(self), i])
    image = planted(self.characteristic, self.split, label, generator)
    return {"image": image, "label": label, "name": self.name(i)}

  def name(self, i: int) -> str:
    """Characteristic, split and number."""
    return f"{self.characteristic}-{self.split}-{int(i):03d}"


def load(data: Any, split: str, seed: int) -> Planted:
  """Opens the training or test split that a config names."""
  return opened(data.characteristic, data[split], seed)


def opened(characteristic: str, split: str, seed: int) -> Planted:
  """Opens a split.

  Args:
    characteristic: what is planted, one of `LEVELS`.
    split: "train" or "test".
    seed: of all randomness.

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
    raise UserError(
      f"the planted data have no split {split!r}, but train and test"
    )
  places(split)  # a missing package is reported first
  return Planted(characteristic, split, seed)


def planted(
  characteristic: str, split: str, label: int, generator: np.random.Generator
) -> Patch:
  """A random patch with one characteristic at a level, others at random.

  Args:
    characteristic: what is planted, one of `LEVELS`.
    split: "train" or "test".
    label: number of the level.
    generator: of all randomness.
  """
  image = patch(split, generator)
  for name, plant in _PLANTS.items():
    if name == characteristic:
      image = plant(image, LEVELS[name][label], generator)
    elif name in _VARIED:
      vary, low, high = _VARIED[name]
      image = vary(image, generator.uniform(low, high), generator)
  return image


@functools.cache
def places(split: str) -> Mapping[str, Int[np.ndarray, "n 2"]]:
  """Photograph -> left upper corners (x, y) of the patches to choose from.

  They lie within the crops of `photos`, so that no pixel is in two splits.
  """
  return {name: _corners(name, split) for name in PHOTOGRAPHS}


def _corners(name: str, split: str) -> Int[np.ndarray, "n 2"]:
  photograph = _photograph(name)
  height, width, _ = photograph.shape
  good = np.zeros((height - SIDE + 1, width - SIDE + 1), bool)
  for x, y, w, h in photos.boxes(name, photograph, split):
    good[y : y + h - SIDE + 1, x : x + w - SIDE + 1] = True
  luma = _luma(photograph)
  detail = (luma - ndimage.gaussian_filter(luma, _BLUR)) ** 2
  colour = np.ptp(photograph, axis=-1).astype(float)
  for values, (low, high) in ((detail, np.square(_DETAIL)), (colour, _COLOUR)):
    quarters = _of_quarters(values)
    good &= (quarters.min(axis=0) >= low) & (quarters.max(axis=0) <= high)
  return np.argwhere(good)[:, ::-1]


def _of_quarters(
  values: Float[np.ndarray, "H W"],
) -> Float[np.ndarray, "4 rows columns"]:
  """Mean over each quarter of the patch at every left upper corner."""
  half = SIDE // 2
  # `origin`: the window begins at a pixel and is not centred on it.
  means = ndimage.uniform_filter(values, half, origin=-(half // 2))
  rows, columns = (length - SIDE + 1 for length in values.shape)
  return np.stack(
    [means[y : y + rows, x : x + columns] for y in (0, half) for x in (0, half)]
  )


def patch(split: str, generator: np.random.Generator) -> Patch:
  """A random patch of a photograph, set to the common detail and colour.

  Else differences between patches would blur the levels that are planted.
  """
  name = PHOTOGRAPHS[generator.integers(len(PHOTOGRAPHS))]
  corners = places(split)[name]
  x, y = corners[generator.integers(len(corners))]
  found = _photograph(name)[y : y + SIDE, x : x + SIDE]
  luma = _luma(found)
  detail = np.std(luma - ndimage.gaussian_filter(luma, _BLUR))
  found = _contrast(found, float(_MEAN_DETAIL / detail), None)
  colour = np.mean(np.ptp(found, axis=-1))
  return _saturation(found, float(_MEAN_COLOUR / colour), None)


@functools.cache
def _photograph(name: str) -> UInt8[np.ndarray, "H W 3"]:
  return photos.photograph(name)


def _hue(image: Patch, degrees: float | int, generator) -> Patch:
  """All pixels of one hue; each keeps its saturation and value."""
  del generator
  return _with_hue(image, lambda hue: np.full_like(hue, _hue_byte(degrees)))


def _turned(image: Patch, degrees: float | int, generator) -> Patch:
  """All hues turned by an angle."""
  del generator
  return _with_hue(image, lambda hue: hue + _hue_byte(degrees))


def _saturation(image: Patch, factor: float | int, generator) -> Patch:
  """Every pixel blended with its grey."""
  del generator
  return np.array(ImageEnhance.Color(Image.fromarray(image)).enhance(factor))


def _contrast(image: Patch, factor: float | int, generator) -> Patch:
  """Luma moved towards its mean; differences between channels stay."""
  del generator
  luma = _luma(image)
  return _lighter(image, (factor - 1) * (luma - luma.mean()))


def _texture(image: Patch, deviation: float | int, generator) -> Patch:
  """The blurred image with grain of this deviation, in grey levels."""
  return _grained(_blurred(image), deviation, generator)


def _grained(image: Patch, deviation: float | int, generator) -> Patch:
  """The image with grain of this deviation, in grey levels."""
  grain = generator.normal(0, 1, (SIDE, SIDE))
  return _lighter(image, deviation * grain)


def _shape(image: Patch, kind: str, generator) -> Patch:
  """The image with thin dark or light lines, straight or wavy."""
  turn, start, phase = generator.uniform(0, 2 * np.pi, 3)
  y, x = np.mgrid[:SIDE, :SIDE]
  across = x * np.cos(turn) + y * np.sin(turn) + start / (2 * np.pi) * _SPACING
  along = y * np.cos(turn) - x * np.sin(turn)
  if kind == "wavy":
    across = across + _SWING * np.sin(2 * np.pi * along / _WAVE + phase)
  off = (across + _SPACING / 2) % _SPACING - _SPACING / 2
  strength = generator.choice((-1, 1)) * generator.uniform(40, 80)
  return _lighter(image, strength * np.exp(-((off / _WIDTH) ** 2) / 2))


def _blurred(image: Patch) -> Patch:
  blur = ImageFilter.GaussianBlur(_BLUR)
  return np.array(Image.fromarray(image).filter(blur))


def _luma(image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
  return image @ np.array([0.299, 0.587, 0.114])


def _lighter(image: Patch, levels: Float[np.ndarray, "s s"]) -> Patch:
  """Adds grey levels to each pixel, the same to all channels."""
  return np.clip(np.rint(image + levels[..., None]), 0, 255).astype(np.uint8)


def _with_hue(
  image: Patch, change: Callable[[np.ndarray], np.ndarray]
) -> Patch:
  """The image with its hue changed, by way of Pillow's HSV."""
  hsv = np.array(Image.fromarray(image).convert("HSV"))
  hsv[..., 0] = change(hsv[..., 0])
  return np.array(Image.fromarray(hsv, "HSV").convert("RGB"))


def _hue_byte(degrees: float | int) -> np.uint8:
  return np.uint8(degrees / 360 * 255)


# Levels of each characteristic; index = label.
LEVELS: Mapping[str, tuple] = {
  "hue": (0, 60, 120, 180, 240, 300),  # degrees
  "shape": ("straight", "wavy"),
  "texture": (0, 6),  # grey levels
  "contrast": (1, 0.5, 0.25, 0.12, 0.06),
  "saturation": (1, 0.65, 0.42, 0.27, 0.17),
}
# Applied in this order, so that grain and lines vary in contrast, too.
_PLANTS: Mapping[str, Callable[..., Patch]] = {
  "texture": _texture,
  "shape": _shape,
  "hue": _hue,
  "saturation": _saturation,
  "contrast": _contrast,
}
# Random variation of a characteristic that is not planted: function, lowest and
# highest value. Shape and texture vary from patch to patch already.
_VARIED: Mapping[str, tuple[Callable[..., Patch], float, float]] = {
  "hue": (_turned, 0, 360),
  "saturation": (_saturation, 0.2, 1),
  "contrast": (_contrast, 0.3, 1),
}
