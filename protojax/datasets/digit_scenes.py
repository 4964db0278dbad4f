"""Embedded scenes of digits on textures, with the exact mask of each object.

Three to six scanned digits, 16 to 28 pixels high, hide one another before one
or two photographs (brick, grass, gravel): ten classes of things, or with
`data.alike` a single one, and three of stuff. Training and test scenes share no
scan; their textures are cut from the left and the right halves. Needs
scikit-image and scikit-learn (the `demo` extra). A scene is made when it is
read, from the seed, the split and its number.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

from jaxtyping import Bool, Int, UInt8
import numpy as np
from PIL import Image

from protojax.data.fields import Classes, Field, Instances, Pixels
from protojax.datasets import digits, photographs
from protojax.datasets.digits import Digits
from protojax.types import UserError

_THINGS = (
  *("zero", "one", "two", "three", "four"),
  *("five", "six", "seven", "eight", "nine"),
)
_TEXTURES = ("brick", "grass", "gravel")
CLASS_NAMES = (*_THINGS, *_TEXTURES)
SIDE = 64  # of a scene, in pixels
_COUNT = (3, 6)  # digits, at least and at most
_HIGH = (16, 28)  # pixels
_INK = (190, 255)  # how bright
# A pixel is of a digit if so much of it is ink.
_COVERED = 0.5
_SPLITS = ("train", "test")

# What is declared of a data set; see `protojax.datasets`.
FIELDS: Mapping[str, Field] = {
  "image": Pixels(),
  "mask": Classes(),
  "segments": Instances(_COUNT[1] + 2),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
  """A split of scenes; see `source.Source`.

  Attributes:
    split: "train" or "test".
    count: of scenes.
    scans: the digits of the split.
    seed: of all randomness.
    alike: whether all digits are of one class.
  """

  split: str
  count: int
  scans: Digits
  seed: int
  alike: bool = False
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return self.count

  @property
  def class_names(self) -> tuple[str, ...]:
    """Digits, then textures."""
    return ("digit", *_TEXTURES) if self.alike else CLASS_NAMES

  @property
  def things(self) -> tuple[bool, ...]:
    """Which classes are objects."""
    return tuple(n not in _TEXTURES for n in self.class_names)

  def __getitem__(self, i: int) -> dict:
    generator = np.random.default_rng(
      [self.seed, _SPLITS.index(self.split), int(i)]
    )
    image, ground = _ground(self.split, generator)
    stuff = ground + len(self.class_names) - len(_TEXTURES)
    number, classes = np.full((SIDE, SIDE), -1), []
    low, high = _COUNT
    for n in range(int(generator.integers(low, high + 1))):
      scan = int(generator.integers(len(self.scans)))
      cover = _grown(self.scans.images[scan], generator)
      size = len(cover)
      y, x = generator.integers(0, SIDE - size + 1, 2)
      place = slice(y, y + size), slice(x, x + size)
      share = cover[..., None]
      ink = generator.uniform(*_INK)
      image[place] = share * ink + (1 - share) * image[place]
      number[place][cover > _COVERED] = n
      classes.append(0 if self.alike else int(self.scans.labels[scan]))
    mask = np.where(number < 0, stuff, np.array(classes)[number])
    masks = [number == n for n in range(len(classes))]
    for k in np.unique(stuff):
      masks.append((number < 0) & (stuff == k))
      classes.append(int(k))
    shown = np.array([one.any() for one in masks])
    return {
      "image": np.rint(image).astype(np.uint8),
      "mask": mask.astype(np.int32),
      "segments": {
        "masks": np.stack(masks)[shown],
        "classes": np.array(classes, np.int32)[shown],
      },
      "name": self.name(i),
    }

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: a scene is of no single class."""
    return np.full(self.count, -1, np.int32)

  def name(self, i: int) -> str:
    """Split and number."""
    return f"{self.split}-{int(i):04d}"


def load(data: Any, split: str, seed: int) -> Scenes:
  """Opens the training or test split that a config names.

  Args:
    data: `train` and `test`, with a number of scenes: "train:600"; and `alike`,
      False if it is not there.
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such split, or a package is not installed.
  """
  name, _, count = data[split].partition(":")
  if name not in _SPLITS or not (count.isdecimal() and 0 < int(count) < 10**6):
    raise UserError(
      f"--config.data.{split}={data[split]!r}: give train or test, and how many"
      " scenes, as in train:600"
    )
  for texture in _TEXTURES:
    photographs.photograph(texture)  # A missing package is reported first.
  scans = digits.load(data, name, seed)
  return Scenes(name, int(count), scans, seed, bool(data.get("alike", False)))


def _ground(
  split: str, generator: np.random.Generator
) -> tuple[np.ndarray, Int[np.ndarray, "s s"]]:
  """One or two textures beside a line, and the number of each pixel's.

  The image is of floats, 0..255.
  """
  two = generator.choice(len(_TEXTURES), 2, replace=False)
  crops = [
    photographs.half_crop(_TEXTURES[k], split, SIDE, generator) for k in two
  ]
  y, x = np.indices((SIDE, SIDE)) + 0.5 - SIDE / 2
  angle = generator.uniform(0, 2 * np.pi)
  # Beyond a third of the side from the middle, most lines miss the scene.
  offset = generator.uniform(0, 0.75) * SIDE
  second: Bool[np.ndarray, "s s"] = (
    y * np.sin(angle) + x * np.cos(angle) > offset
  )
  image = np.where(second[..., None], crops[1], crops[0]).astype(float)
  return image, np.where(second, two[1], two[0])


def _grown(
  scan: UInt8[np.ndarray, "8 8 3"], generator: np.random.Generator
) -> np.ndarray:
  """A scan at a random size: how much of each pixel is ink, 0..1."""
  low, high = _HIGH
  size = int(generator.integers(low, high + 1))
  large = Image.fromarray(scan[..., 0]).resize(
    (size, size), Image.Resampling.BICUBIC
  )
  return np.asarray(large, float) / 255
