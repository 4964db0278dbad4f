"""Embedded images with several labels in known places: digits on textures.

A canvas is a crop of a photograph (brick, grass or gravel) with one to four
scanned digits at places that do not overlap; its labels are the digits that it
shows. Training and test canvases share no digit and no pixel of a background.
Needs scikit-image and scikit-learn (the `demo` extra). A canvas is made when it
is read, from the seed, the split and its number.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, ClassVar

from jaxtyping import Int, UInt8
import numpy as np

from protojax.data.fields import Boxes, Field, Labels, Pixels
from protojax.datasets import digits, photos
from protojax.datasets.digits import Digits
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
SEVERAL = True

CLASS_NAMES = (
  *("zero", "one", "two", "three", "four"),
  *("five", "six", "seven", "eight", "nine"),
)
SIDE = 36  # of a canvas, in pixels
_TEXTURES = ("brick", "grass", "gravel")
_DIGIT = 8  # pixels on a side
_MOST = 4
# Share of a photograph's width that training canvases are cropped from.
_TRAIN_WIDTH = 0.6
# How bright ink is.
_INK = (190, 255)


@dataclasses.dataclass(frozen=True, eq=False)
class Canvases:
  """A split of canvases; see `source.Source`.

  Attributes:
    split: "train" or "test".
    count: of canvases.
    scans: the digits of the split.
    seed: of all randomness.
  """

  split: str
  count: int
  scans: Digits
  seed: int
  class_names = CLASS_NAMES
  skipped = ()
  fields: ClassVar[Mapping[str, Field]] = {
    "image": Pixels(),
    "labels": Labels(len(CLASS_NAMES)),
    "boxes": Boxes(_MOST),
  }

  def __len__(self) -> int:
    return self.count

  def __getitem__(self, i: int) -> dict:
    numbers, corners = self._drawn(i)
    generator = self._generator(i, 1)
    image = _background(self.split, generator).astype(float)
    for number, (top, left) in zip(numbers, corners, strict=True):
      ink = generator.uniform(*_INK)
      cover = self.scans.images[number] / 255
      window = image[top : top + _DIGIT, left : left + _DIGIT]
      window[:] = cover * ink + (1 - cover) * window
    boxes = np.concatenate([corners, corners + _DIGIT], axis=1) / SIDE
    return {
      "image": np.rint(image).astype(np.uint8),
      "labels": self.tags[i],
      "boxes": {"boxes": boxes, "classes": self._classes(numbers)},
      "name": self.name(i),
    }

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: a canvas is of no single class."""
    return np.full(self.count, -1, np.int32)

  @functools.cached_property
  def tags(self) -> Int[np.ndarray, "n k"]:
    """1 for the digits that each canvas shows, else 0."""
    found = np.zeros((self.count, len(CLASS_NAMES)), np.int32)
    for i in range(self.count):
      numbers, _ = self._drawn(i)
      found[i, self._classes(numbers)] = 1
    return found

  def name(self, i: int) -> str:
    """Split, number and digits."""
    numbers, _ = self._drawn(i)
    shown = sorted(set(self._classes(numbers).tolist()))
    return "-".join((self.split, f"{int(i):04d}", *map(str, shown)))

  def _classes(self, numbers: Int[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
    return self.scans.labels[numbers]

  def _generator(self, i: int, purpose: int) -> np.random.Generator:
    number = list(_PLACES).index(self.split)
    return np.random.default_rng([self.seed, number, int(i), purpose])

  def _drawn(
    self, i: int
  ) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, "t 2"]]:
    """Numbers of the scans, and the corners of their places."""
    generator = self._generator(i, 0)
    count = int(generator.integers(1, _MOST + 1))
    numbers = generator.integers(0, len(self.scans), count)
    corners: list[np.ndarray] = []
    while len(corners) < count:
      corner = generator.integers(0, SIDE - _DIGIT + 1, 2)
      if all(np.abs(corner - other).max() >= _DIGIT for other in corners):
        corners.append(corner)
    return numbers, np.stack(corners)


def load(data: Any, split: str, seed: int) -> Canvases:
  """Opens the training or test split that a config names.

  Args:
    data: `train` and `test`, with a number of canvases: "train:3000".
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such split, or a package is not installed.
  """
  name, _, count = data[split].partition(":")
  if name not in _PLACES or not (count.isdecimal() and int(count)):
    raise UserError(
      f"--config.data.{split}={data[split]!r}: give train or test, and how many"
      " canvases, as in train:3000"
    )
  for texture in _TEXTURES:
    photos.photograph(texture)  # A missing package is reported first.
  return Canvases(name, int(count), digits.load(data, name, seed), seed)


# Split -> share of a photograph's width where its crops begin and end.
_PLACES = {"train": (0.0, _TRAIN_WIDTH), "test": (_TRAIN_WIDTH, 1.0)}


def _background(
  split: str, generator: np.random.Generator
) -> UInt8[np.ndarray, "s s 3"]:
  whole = _photograph(_TEXTURES[generator.integers(len(_TEXTURES))])
  height, width, _ = whole.shape
  left, right = (int(share * width) for share in _PLACES[split])
  y = int(generator.integers(0, height - SIDE + 1))
  x = int(generator.integers(left, right - SIDE + 1))
  return whole[y : y + SIDE, x : x + SIDE]


_photograph = functools.cache(photos.photograph)
