"""A stand-in for faces and EEG: scikit-learn's digits, measured in two ways.

There are no faces with emotions and no recordings here. Images are digits 0 to
7, eight classes. The other measurement is the edges of *other* digit images, in
four directions; its target is the place of the class on a plane, with noise.
Nothing says which image a measurement belongs to, and the places are those of
eight emotions, of which digits know nothing: what is tested is the transfer of
a grid of prototypes, not emotion.

Splits of images: "train", "test", and the test images under a shift and with
two classes missing: "inverted", "textured", "blurred", "rotated".
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import types
from typing import Any, ClassVar

from jaxtyping import Float, Int32, UInt8
import numpy as np
from scipy import ndimage

from protojax.datasets import digits
from protojax.datasets.measurements import Measurements
from protojax.types import UserError

# Class -> its place on the plane.
ANCHORS: Mapping[str, tuple[float, float]] = {
  "zero": (0.0, 0.0),
  "one": (0.8, 0.4),
  "two": (0.4, 0.8),
  "three": (-0.8, -0.4),
  "four": (-0.5, 0.8),
  "five": (-0.8, 0.4),
  "six": (-0.6, 0.7),
  "seven": (-0.4, 0.0),
}
# Classes that the shifted splits lack.
MISSING = ("three", "seven")
# Shares of the images: the rest is measured.
_SHARES = {"train": 0.2, "test": 0.3}
_NOISE = 0.25  # deviation of a target from the place of its class
_SESSIONS = 24  # stand-ins for subjects
_DIRECTIONS = ("0", "45", "90", "135")

Digit = UInt8[np.ndarray, "8 8"]


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredDigits:
  """A split of the images; see `source.Source`.

  Attributes:
    split: its name.
    grey: the images, before any shift.
    labels: their classes.
    anchors: place of each class on the plane.
  """

  split: str
  grey: UInt8[np.ndarray, "n 8 8"]
  labels: Int32[np.ndarray, "n"]

  class_names: ClassVar[tuple[str, ...]] = tuple(ANCHORS)
  anchors: ClassVar[Mapping[str, tuple[float, float]]] = ANCHORS
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, i: int) -> dict:
    shifted = _SHIFTS.get(self.split, lambda grey, rng: grey)
    grey = shifted(self.grey[i], np.random.default_rng(i))
    image = np.repeat(grey[..., None], 3, axis=2)
    return {"image": image, "label": int(self.labels[i]), "name": self.name(i)}

  def name(self, i: int) -> str:
    """Class, split and number."""
    return f"{self.class_names[self.labels[i]]} {self.split} {int(i):03d}"


def load(data: Any, split: str, seed: int) -> MeasuredDigits:
  """Opens the split that a config names; the seed draws all of them."""
  if data.root:
    raise UserError(
      f"--config.data.root={data.root}: the digits are embedded; leave it out,"
      " or read images of your own with --config.data.name=folder"
    )
  name = data[split]
  known = (*_SHARES, *_SHIFTS)
  if name not in known:
    raise UserError(
      f"the digits have no split {name!r}, but {', '.join(known)}"
    )
  grey, labels = _drawn(seed)["test" if name in _SHIFTS else name]
  if name in _SHIFTS:
    gone = [tuple(ANCHORS).index(c) for c in MISSING]
    kept = ~np.isin(labels, gone)
    grey, labels = grey[kept], labels[kept]
  return MeasuredDigits(name, grey, labels)


def measure(modality: Any, seed: int) -> Measurements:
  """The edges of the images that no split has, as `Measurements`."""
  del modality
  grey, labels = _drawn(seed)["rest"]
  rng = np.random.default_rng([seed, 1])
  places = np.array(list(ANCHORS.values()))[labels]
  targets = places + _NOISE * rng.normal(size=places.shape)
  return Measurements(
    "edges of digits (a stand-in)",
    np.stack([edges(image) for image in grey]),
    np.clip(targets, -1, 1).astype(np.float32),
    (np.arange(len(grey)) % _SESSIONS).astype(np.int32),
    _DIRECTIONS,
    synthetic=True,
  )


def edges(image: Digit) -> Float[np.ndarray, "8 8 4"]:
  """Strength of the edges of each direction at each pixel, 0 to 1."""
  x = image.astype(np.float32) / 255
  across, down = ndimage.sobel(x, axis=1) / 4, ndimage.sobel(x, axis=0) / 4
  angle = np.arctan2(down, across)[..., None]
  wanted = np.deg2rad([float(name) for name in _DIRECTIONS])
  near = np.maximum(np.cos(2 * (angle - wanted)), 0.0)
  return (np.hypot(across, down)[..., None] * near).astype(np.float32)


@functools.cache
def _drawn(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Part -> grey levels and labels; no image is in two parts."""
  embedded = types.SimpleNamespace(root="")
  both = [digits.load(embedded, split, seed) for split in ("train", "test")]
  grey = np.concatenate([found.images[..., 0] for found in both])
  labels = np.concatenate([found.labels for found in both])
  rows = np.flatnonzero(labels < len(ANCHORS))
  rows = np.random.default_rng(seed).permutation(rows)
  ends = np.cumsum([int(share * len(rows)) for share in _SHARES.values()])
  parts = dict(
    zip((*_SHARES, "rest"), np.split(rows, ends.tolist()), strict=True)
  )
  return {name: (grey[own], labels[own]) for name, own in parts.items()}


def _inverted(grey: Digit, rng: np.random.Generator) -> Digit:
  del rng
  return 255 - grey


def _textured(grey: Digit, rng: np.random.Generator) -> Digit:
  """Noise behind the digit."""
  return np.maximum(grey, rng.integers(0, 200, grey.shape).astype(np.uint8))


def _blurred(grey: Digit, rng: np.random.Generator) -> Digit:
  del rng
  return _bytes(ndimage.gaussian_filter(grey.astype(np.float32), 0.9))


def _rotated(grey: Digit, rng: np.random.Generator) -> Digit:
  """By 15 to 35 degrees, to either side."""
  angle = rng.choice([-1, 1]) * rng.uniform(15, 35)
  turned = ndimage.rotate(
    grey.astype(np.float32), angle, reshape=False, order=1
  )
  return _bytes(turned)


def _bytes(x: np.ndarray) -> Digit:
  return np.clip(np.round(x), 0, 255).astype(np.uint8)


_SHIFTS: Mapping[str, Callable[[Digit, np.random.Generator], Digit]] = {
  "inverted": _inverted,
  "textured": _textured,
  "blurred": _blurred,
  "rotated": _rotated,
}
