"""The embedded handwritten digits: 1,797 scans of 8 x 8 pixels, ten classes.

They come with scikit-learn (the `demo` extra), from the test part of the UCI
data set of Alpaydin and Kaynak. A fifth of each class is for testing, drawn by
a fixed seed.
"""

import dataclasses
import functools
import importlib.util
from pathlib import Path
from typing import Any

from jaxtyping import Int32, UInt8
import numpy as np

from protojax.data import splits
from protojax.types import UserError

CLASS_NAMES = tuple(str(digit) for digit in range(10))
SIDE = 8
_TEST_SHARE = 0.2
_BRIGHTEST = 16  # of the file


@dataclasses.dataclass(frozen=True, eq=False)
class Digits:
  """A split of the scans; see `source.Source`.

  Attributes:
    numbers: of the scans, in the order of the file.
    images: grey, white on black, three equal channels.
    labels: the digits.
  """

  numbers: Int32[np.ndarray, " n"]
  images: UInt8[np.ndarray, "n 8 8 3"]
  labels: Int32[np.ndarray, " n"]
  class_names: tuple[str, ...] = CLASS_NAMES
  skipped: tuple[tuple[str, str], ...] = ()

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, i: int) -> dict:
    return {
      "image": self.images[i],
      "label": int(self.labels[i]),
      "name": self.name(i),
    }

  def name(self, i: int) -> str:
    """Such as "7-0123": the digit, and the number of its scan."""
    return f"{self.labels[i]}-{self.numbers[i]:04d}"


def load(data: Any, split: str, seed: int) -> Digits:
  """Opens the training or test split; of the config's keys none changes it.

  Raises:
    UserError: scikit-learn is not installed, or `data.root` is given.
  """
  del seed
  found = whole(data)
  tested = _tested(found.labels)
  chosen = np.setdiff1d(np.arange(len(found)), tested)
  chosen = tested if split == "test" else chosen
  return Digits(
    found.numbers[chosen], found.images[chosen], found.labels[chosen]
  )


def whole(data: Any) -> Digits:
  """All scans, of both splits.

  Raises:
    UserError: see `load`.
  """
  if data.root:
    raise UserError(
      f"--config.data.root={data.root} does not hold the embedded digits: leave"
      " it out, or read images of your own with --config.data.name=folder"
    )
  rows = _table()
  pixels = rows[:, :-1].reshape(-1, SIDE, SIDE, 1)
  images = np.rint(pixels * (255 / _BRIGHTEST)).astype(np.uint8)
  images = np.repeat(images, 3, axis=-1)
  labels = rows[:, -1].astype(np.int32)
  return Digits(np.arange(len(rows), dtype=np.int32), images, labels)


def _tested(labels: Int32[np.ndarray, " n"]) -> np.ndarray:
  """Numbers of the scans to test on."""
  found = []
  for digit in range(len(CLASS_NAMES)):
    own = np.flatnonzero(labels == digit)
    held = splits.held_out([str(i) for i in own], _TEST_SHARE, 0)
    found.append(own[held])
  return np.sort(np.concatenate(found))


@functools.cache
def _table() -> np.ndarray:
  """Rows of 64 pixels and the digit."""
  # The package is found, not imported: that takes a second.
  spec = importlib.util.find_spec("sklearn")
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      "the digits need scikit-learn: python -m pip install 'protojax[demo]', or"
      " use a folder of your own with --config.data.name=folder"
      " --config.data.root=DIR"
    )
  folder = Path(spec.submodule_search_locations[0])
  return np.loadtxt(folder / "datasets/data/digits.csv.gz", delimiter=",")
