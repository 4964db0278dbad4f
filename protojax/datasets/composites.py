"""Embedded images with known concepts in known places, and one false cue.

Pieces of photographs (the `demo` extra) are pasted at a random place, size and
brightness onto crops of other photographs. The concepts are coins, cat's eyes,
print and wheels. The class is "coin and eye" if both are there, else "print" if
there is print, else "neither"; wheels do not matter. In training, most images
with print have a white tag in a corner, and most others have none; in the test,
the tag says nothing. A model may have learned the tag. No piece and no pixel of
the background is in two splits. An image is made when it is read, from the
seed, the split and its number.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

from jaxtyping import Bool, Float, Int, Int32, UInt8
import numpy as np
from PIL import Image
from scipy import ndimage

from protojax.data.places import Places
from protojax.datasets import photos
from protojax.types import UserError

COUNTS = {"train": 600, "test": 300}
CONCEPTS = ("coin", "eye", "print", "wheel")
CLASS_NAMES = ("neither", "print", "coin and eye")
BACKGROUNDS = (
  "brick",
  "china",
  "coffee",
  "gravel",
  "immunohistochemistry",
  "retina",
)
SIDE = 96  # of an image, in pixels
_PRESENT = (0.5, 0.5, 0.4, 0.4)  # share of images with each concept
_SIZE = (22, 36)  # pixels, smallest and largest
_BRIGHTNESS = (0.7, 1.25)
_TAG_SIZE = 12  # pixels
_TAG_GREY = 250
_TAG_IN_TEST = 0.5  # share of test images with the tag

# Boxes of the pieces: left, top, width, height in pixels.
_COINS_ABOVE = (
  (305, 16, 59, 56),
  (132, 30, 47, 44),
  (193, 31, 47, 42),
  (257, 34, 40, 37),
  (22, 36, 45, 38),
  (81, 39, 40, 35),
  (246, 96, 50, 48),
  (24, 104, 43, 42),
  (186, 105, 41, 40),
  (317, 105, 40, 40),
  (84, 108, 38, 36),
  (133, 110, 41, 35),
)
_COINS_BELOW = (
  (315, 157, 65, 59),
  (189, 171, 48, 45),
  (251, 172, 46, 45),
  (80, 175, 44, 42),
  (25, 179, 38, 37),
  (135, 179, 39, 38),
  (18, 233, 57, 55),
  (144, 237, 57, 50),
  (276, 240, 51, 48),
  (219, 241, 50, 47),
  (92, 246, 44, 41),
  (335, 248, 46, 41),
)
_PRINT = tuple((x, y, 44, 44) for x in (6, 50, 94, 138) for y in (50, 62, 74))
_PIECES: Mapping[tuple[str, str], tuple[str, Sequence[tuple[int, ...]]]] = {
  ("coin", "train"): ("coins", _COINS_ABOVE),
  ("coin", "test"): ("coins", _COINS_BELOW),
  ("eye", "train"): ("chelsea", ((135, 80, 72, 72),)),
  ("eye", "test"): ("chelsea", ((290, 107, 60, 60),)),
  ("print", "train"): ("page", _PRINT),
  ("print", "test"): ("page", tuple((x + 188, *r) for x, *r in _PRINT)),
  ("wheel", "train"): ("stereo_motorcycle", ((117, 238, 170, 166),)),
  ("wheel", "test"): ("stereo_motorcycle", ((511, 286, 172, 170),)),
}

Crop = UInt8[np.ndarray, "s s 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Composites:
  """A split of composites; see `source.Source` and `concepts.Conceptual`.

  Attributes:
    split: "train" or "test".
    seed: of all randomness.
    tag_with, tag_without: share of images with the tag, among those with print
      and among those without.
    skipped: none.
  """

  split: str
  seed: int
  tag_with: float
  tag_without: float
  skipped: tuple[tuple[str, str], ...] = ()
  class_names = CLASS_NAMES
  concept_names = CONCEPTS

  def __len__(self) -> int:
    return COUNTS[self.split]

  def __getitem__(self, i: int) -> dict:
    generator = self._generator(i, 1)
    image = _background(self.split, generator)
    tag = self.tag(i)
    if tag is not None:
      top, left, bottom, right = _pixels(tag)
      image[top:bottom, left:right] = _TAG_GREY
    for concept, box in zip(*self.places(i), strict=True):
      _paste(image, CONCEPTS[concept], self.split, _pixels(box), generator)
    return {"image": image, "label": int(self.labels[i]), "name": self.name(i)}

  @functools.cached_property
  def concepts(self) -> Bool[np.ndarray, "n c"]:
    """True for the concepts that each image shows."""
    return np.stack([self._drawn(i)[0] for i in range(len(self))])

  @functools.cached_property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """2 for a coin and an eye, else 1 for print, else 0."""
    coin, eye, text, _ = self.concepts.T
    return np.where(coin & eye, 2, np.where(text, 1, 0)).astype(np.int32)

  def name(self, i: int) -> str:
    """Split, number and concepts."""
    shown = [CONCEPTS[c] for c in np.flatnonzero(self.concepts[i])]
    return "-".join((self.split, f"{int(i):03d}", *shown))

  def places(self, i: int) -> Places:
    """Boxes of the pieces."""
    shown, _, boxes = self._drawn(i)
    return Places(np.flatnonzero(shown), boxes[:-1][shown])

  def tag(self, i: int) -> Float[np.ndarray, "4"] | None:
    """Box of the tag, in shares of the image; None without a tag."""
    _, tagged, boxes = self._drawn(i)
    return boxes[-1] if tagged else None

  def _generator(self, i: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([self.seed, len(self), int(i), purpose])

  def _drawn(
    self, i: int
  ) -> tuple[Bool[np.ndarray, " c"], bool, Float[np.ndarray, "n 4"]]:
    """Shown concepts, whether there is a tag, boxes of all concepts and tag."""
    generator = self._generator(i, 0)
    shown = generator.random(len(CONCEPTS)) < _PRESENT
    with_print = shown[CONCEPTS.index("print")]
    often = self.tag_with if with_print else self.tag_without
    tagged = bool(generator.random() < often)
    return shown, tagged, _separate_boxes(generator) / SIDE


def load(data: Any, split: str, seed: int) -> Composites:
  """Opens the training or test split that a config names."""
  return opened(data[split], seed, data.tag)


def opened(split: str, seed: int, tag: float = 0.9) -> Composites:
  """Opens a split.

  Args:
    split: "train" or "test".
    seed: of all randomness.
    tag: share of the training images with print that have the tag, and of those
      without print that have none. In the test, half of the images have it.

  Raises:
    UserError: there is no such split, or the photographs are not installed.
  """
  if split not in COUNTS:
    raise UserError(
      f"the composites have no split {split!r}, but train and test"
    )
  if not 0 <= tag <= 1:
    raise UserError(f"--config.data.tag={tag}: give a share between 0 and 1")
  for name, _ in _PIECES.values():
    photos.photograph(name)  # A missing package is reported first.
  if split == "test":
    return Composites(split, seed, _TAG_IN_TEST, _TAG_IN_TEST)
  return Composites(split, seed, tag, 1 - tag)


def _separate_boxes(generator: np.random.Generator) -> Int[np.ndarray, "n 4"]:
  """Boxes in pixels, none over another: of each concept, last of the tag."""
  while True:
    top, left = (generator.integers(0, 2, 2) * (SIDE - _TAG_SIZE)).tolist()
    boxes = [(top, left, top + _TAG_SIZE, left + _TAG_SIZE)]
    for _ in CONCEPTS:
      size = int(generator.integers(*_SIZE, endpoint=True))
      for _ in range(20):
        corner = generator.integers(0, SIDE - size, 2, endpoint=True)
        top, left = corner.tolist()
        box = top, left, top + size, left + size
        if not any(_overlap(box, other) for other in boxes):
          boxes.append(box)
          break
    if len(boxes) == len(CONCEPTS) + 1:
      return np.array([*boxes[1:], boxes[0]])


def _overlap(a: Sequence[int], b: Sequence[int]) -> bool:
  return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _pixels(box: Float[np.ndarray, "4"]) -> list[int]:
  return np.rint(box * SIDE).astype(int).tolist()


def _background(split: str, generator: np.random.Generator) -> Crop:
  """A random crop of a photograph, mirrored in half of the cases."""
  crops = _crops(split)
  crop = crops[generator.integers(len(crops))]
  return (crop[:, ::-1] if generator.integers(2) else crop).copy()


@functools.cache
def _crops(split: str) -> tuple[Crop, ...]:
  """Crops of the backgrounds, as in `photos`: no pixel is in two splits."""
  found = []
  for name in BACKGROUNDS:
    whole = photos.photograph(name)
    for x, y, w, h in photos.boxes(name, whole, split):
      found.append(whole[y : y + h, x : x + w])
  return tuple(found)


@functools.cache
def _pieces(concept: str, split: str) -> tuple[UInt8[np.ndarray, "h w 3"], ...]:
  name, boxes = _PIECES[concept, split]
  whole = photos.photograph(name)
  return tuple(whole[y : y + h, x : x + w] for x, y, w, h in boxes)


def _paste(
  image: Crop,
  concept: str,
  split: str,
  box: Sequence[int],
  generator: np.random.Generator,
) -> None:
  """Pastes a piece into a box, as a disc: every outline is the same."""
  top, left, bottom, right = box
  size = bottom - top
  pieces = _pieces(concept, split)
  piece = Image.fromarray(pieces[generator.integers(len(pieces))])
  drawn = np.asarray(piece.resize((size, size), Image.Resampling.BICUBIC))
  if generator.integers(2):
    drawn = drawn[:, ::-1]
  drawn = np.clip(drawn * generator.uniform(*_BRIGHTNESS), 0, 255)
  y, x = np.mgrid[:size, :size] - (size - 1) / 2
  disc = (np.hypot(y, x) < size / 2 - 1).astype(float)
  cover = ndimage.gaussian_filter(disc, 0.7)[..., None]
  window = image[top:bottom, left:right]
  window[:] = np.rint(cover * drawn + (1 - cover) * window)
