"""Embedded images with a class for each pixel: mosaics of two sizes of texture.

A mosaic is 64 pixels on a side and has three to five regions, those that are
nearest to random points. Each shows one of six classes: the photograph of
brick, grass or gravel in scikit-image (the `demo` extra), or the same at twice
the zoom, so that scale tells classes apart. Training regions are cut from the
left halves of the photographs, test regions from the right halves. A mosaic is
made when it is read, from the seed, the split and its number.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, ClassVar

from jaxtyping import Int, UInt8
import numpy as np
from PIL import Image

from protojax.data.fields import Classes, Field, Pixels
from protojax.datasets import photos
from protojax.types import UserError

_TEXTURES = ("brick", "grass", "gravel")
_ZOOMS = (1, 2)
CLASS_NAMES = tuple(
  name if zoom == 1 else f"{name} {zoom}x"
  for name in _TEXTURES
  for zoom in _ZOOMS
)
SIDE = 64  # of a mosaic, in pixels
REGIONS = (3, 5)  # at least and at most
SPLITS = ("train", "test")

# What is declared of a data set; see `protojax.datasets`.
FIELDS: Mapping[str, Field] = {"image": Pixels(), "mask": Classes()}


@dataclasses.dataclass(frozen=True, eq=False)
class Mosaics:
  """A split of mosaics; see `source.Source`.

  Attributes:
    split: "train" or "test".
    count: of mosaics.
    seed: of all randomness.
  """

  split: str
  count: int
  seed: int
  class_names: ClassVar[tuple[str, ...]] = CLASS_NAMES
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return self.count

  def __getitem__(self, i: int) -> dict:
    generator = np.random.default_rng(
      [self.seed, SPLITS.index(self.split), int(i)]
    )
    low, high = REGIONS
    count = int(generator.integers(low, high + 1))
    classes = generator.choice(len(CLASS_NAMES), count, replace=False)
    region = regions(count, generator)
    crops = np.stack([_crop(self.split, int(k), generator) for k in classes])
    image = np.take_along_axis(crops, region[None, :, :, None], axis=0)[0]
    return {
      "image": image,
      "mask": classes[region].astype(np.int32),
      "name": self.name(i),
    }

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: a mosaic is of no single class."""
    return np.full(self.count, -1, np.int32)

  def name(self, i: int) -> str:
    """Split and number."""
    return f"{self.split}-{int(i):04d}"


def regions(
  count: int, generator: np.random.Generator
) -> Int[np.ndarray, "s s"]:
  """The nearest of so many random points to each pixel of a mosaic."""
  points = generator.uniform(0, SIDE, (count, 2))
  y, x = np.indices((SIDE, SIDE)) + 0.5
  far = np.hypot(y[..., None] - points[:, 0], x[..., None] - points[:, 1])
  return far.argmin(axis=-1)


def counted(data: Any, split: str) -> tuple[str, int]:
  """Split and number of mosaics that a config names, as in "train:300".

  Raises:
    UserError: there is no such split or number.
  """
  name, _, count = data[split].partition(":")
  if name not in SPLITS or not (count.isdecimal() and 0 < int(count) < 10**6):
    raise UserError(
      f"--config.data.{split}={data[split]!r}: give train or test, and how many"
      " mosaics, as in train:300"
    )
  return name, int(count)


def load(data: Any, split: str, seed: int) -> Mosaics:
  """Opens the training or test split that a config names.

  Args:
    data: `train` and `test`, with a number of mosaics: "train:300".
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such split, or a package is not installed.
  """
  name, count = counted(data, split)
  for texture in _TEXTURES:
    photos.photograph(texture)  # A missing package is reported first.
  return Mosaics(name, count, seed)


@functools.cache
def _half(split: str, label: int) -> UInt8[np.ndarray, "H W 3"]:
  """The half of a photograph that a split shows of a class."""
  name, zoom = _TEXTURES[label // len(_ZOOMS)], _ZOOMS[label % len(_ZOOMS)]
  whole = photos.photograph(name)
  middle = whole.shape[1] // 2
  half = whole[:, :middle] if split == "train" else whole[:, middle:]
  height, width, _ = half.shape
  size = width * zoom, height * zoom
  return np.asarray(
    Image.fromarray(half).resize(size, Image.Resampling.BICUBIC)
  )


def _crop(
  split: str, label: int, generator: np.random.Generator
) -> UInt8[np.ndarray, "s s 3"]:
  half = _half(split, label)
  y = int(generator.integers(0, half.shape[0] - SIDE + 1))
  x = int(generator.integers(0, half.shape[1] - SIDE + 1))
  return half[y : y + SIDE, x : x + SIDE]
