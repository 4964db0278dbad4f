"""Drawn images of four shapes, one of which has a mark on its training images.

A disc, a square, a triangle or a cross lies at a random place, size, angle and
brightness on coloured noise. Discs are chequered and squares are striped, so
that a part of them tells what they are. In training, nearly all discs and few
others have a mark in a corner, a checkerboard of two colours. So a model can
know a disc by the mark, and is wrong where there is none. The split "test" has
no mark, "marked" has one on every image. Needs no download and no package of
its own. An image is drawn when it is read, from the seed, the split and its
number.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

from jaxtyping import Bool, Float, Int, Int32, UInt8
import numpy as np
from scipy import ndimage

from protojax.types import UserError

CLASS_NAMES = ("disc", "square", "triangle", "cross")
# The class whose training images have the mark.
MARKED = 0
COUNTS: Mapping[str, int] = {"train": 1200, "test": 400, "marked": 400}
SIDE = 48  # of an image, in pixels
# Share of images with the mark: of the marked class, and of the others.
_SHARES: Mapping[str, tuple[float, float]] = {
  "train": (0.97, 0.02),
  "test": (0.0, 0.0),
  "marked": (1.0, 1.0),
}
_MARK = 12  # pixels on a side
_COLOURS = ((230, 40, 200), (250, 230, 40))
_RADIUS = (8.0, 11.0)  # pixels, of the circle that a shape fits in
# Grey levels between a shape and the mean of what is around it.
_STRENGTH = (45.0, 80.0)
_NOISE, _SMOOTH = 16.0, 1.5  # grey levels, and pixels (sigma)

Image = UInt8[np.ndarray, "s s 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Confounded:
  """A split of the images; see `source.Source`.

  Attributes:
    split: a key of `COUNTS`.
    seed: of all randomness.
    skipped: none.
  """

  split: str
  seed: int
  skipped: tuple[tuple[str, str], ...] = ()
  class_names = CLASS_NAMES

  def __len__(self) -> int:
    return COUNTS[self.split]

  @functools.cached_property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """The classes in turn: 0, 1, 2, 3, 0, ..."""
    return (np.arange(len(self)) % len(CLASS_NAMES)).astype(np.int32)

  @functools.cached_property
  def marks(self) -> Int[np.ndarray, "n 2"]:
    """Top and left of the mark of each image; -1 where there is none."""
    generator = self._generator(-1)
    share = np.where(self.labels == MARKED, *_SHARES[self.split])
    there = generator.uniform(size=len(self)) < share
    corner = generator.integers(0, 2, (len(self), 2))
    margin = generator.integers(1, 4, (len(self), 2))
    place = np.where(corner == 0, margin, SIDE - _MARK - margin)
    return np.where(there[:, None], place, -1)

  def __getitem__(self, i: int) -> dict:
    generator = self._generator(i)
    label = int(self.labels[i])
    noise = generator.normal(0, 1, (SIDE, SIDE, 3))
    smooth = ndimage.gaussian_filter(noise, (_SMOOTH, _SMOOTH, 0))
    image = 128 + _NOISE * smooth / smooth.std()
    shape = _drawn(CLASS_NAMES[label], generator)
    sign = generator.choice((-1, 1))
    image += (sign * generator.uniform(*_STRENGTH) * shape)[..., None]
    found = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    top, left = self.marks[i]
    if top >= 0:
      found[top : top + _MARK, left : left + _MARK] = _mark()
    return {"image": found, "label": label, "name": self.name(i)}

  def name(self, i: int) -> str:
    """Split, number and class."""
    return f"{self.split}-{int(i):04d}-{CLASS_NAMES[self.labels[i]]}"

  def shows_mark(self, i: int, box: Sequence[float | int]) -> bool:
    """Whether a part of an image shows a part of its mark.

    Args:
      i: number of the image.
      box: top, left, bottom and right of the part, in pixels.
    """
    corner = self.marks[i]
    if corner[0] < 0:
      return False
    low, high = np.array(box).reshape(2, 2)
    return bool(np.all((low < corner + _MARK) & (high > corner)))

  def _generator(self, i: int) -> np.random.Generator:
    number = list(COUNTS).index(self.split)
    return np.random.default_rng([self.seed, number, int(i) + 1])


def load(data: Any, split: str, seed: int) -> Confounded:
  """Opens the training or test split that a config names.

  Args:
    data: `train` and `test`, each a key of `COUNTS`.
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such split, or `data.root` is given.
  """
  if data.root:
    raise UserError(
      f"--config.data.root={data.root} does not hold the drawn images: leave it"
      " out, or read images of your own with --config.data.name=folder"
    )
  if data[split] not in COUNTS:
    raise UserError(
      f"--config.data.{split}={data[split]!r}: choose one of"
      f" {', '.join(COUNTS)}"
    )
  return Confounded(data[split], seed)


def _mark() -> UInt8[np.ndarray, "m m 3"]:
  """A checkerboard with squares of three pixels."""
  y, x = np.mgrid[:_MARK, :_MARK] // 3
  return np.array(_COLOURS, np.uint8)[(y + x) % 2]


def _drawn(
  name: str, generator: np.random.Generator
) -> Float[np.ndarray, "s s"]:
  """1 inside a shape, 0 outside, and between along its edge."""
  radius = generator.uniform(*_RADIUS)
  # Where the whole shape is in the image. A mark may hide some of it.
  y, x = generator.uniform(SIDE / 2 - 6, SIDE / 2 + 6, 2)
  turn = generator.uniform(0, 2 * np.pi)
  rows, columns = np.mgrid[:SIDE, :SIDE]
  down, across = rows - y, columns - x
  along = across * np.cos(turn) + down * np.sin(turn)
  aside = down * np.cos(turn) - across * np.sin(turn)
  inside = _INSIDE[name](along / radius, aside / radius)
  # Fields of three pixels, every other one bright.
  fields = np.floor(along / 3) + _FIELDS.get(name, 0) * np.floor(aside / 3)
  dark = inside & (fields % 2 == 0) & (name in _FIELDS)
  return ndimage.gaussian_filter(np.where(dark, _DARK, inside), 0.7)


# Classes with a surface -> whether it is chequered (1) or striped (0).
_FIELDS = {"disc": 1, "square": 0}
_DARK = -0.3  # of a dark field, where a bright one is 1

Grid = Float[np.ndarray, "s s"]


def _disc(x: Grid, y: Grid) -> Bool[np.ndarray, "s s"]:
  return x**2 + y**2 < 0.8**2


def _square(x: Grid, y: Grid) -> Bool[np.ndarray, "s s"]:
  return np.maximum(abs(x), abs(y)) < 0.7


def _triangle(x: Grid, y: Grid) -> Bool[np.ndarray, "s s"]:
  # Three half planes at half the radius from the centre.
  ways = np.arange(3) * 2 * np.pi / 3
  return np.all([x * np.cos(w) + y * np.sin(w) < 0.5 for w in ways], axis=0)


def _cross(x: Grid, y: Grid) -> Bool[np.ndarray, "s s"]:
  thin = np.minimum(abs(x), abs(y)) < 0.27
  return thin & (np.maximum(abs(x), abs(y)) < 1)


_INSIDE = dict(
  zip(CLASS_NAMES, (_disc, _square, _triangle, _cross), strict=True)
)
