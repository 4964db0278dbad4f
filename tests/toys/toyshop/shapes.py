"""A data set: discs and squares, each with its pixels and its box."""

from typing import ClassVar

import numpy as np

from protojax.data.fields import Boxes, Classes, Label, Pixels

SIZE = 16
NAMES = ("disc", "square")
COUNTS = {"train": 24, "test": 8}


class Shapes:
  """One shape in each image; pixel class 0 is the background."""

  fields: ClassVar = {
    "image": Pixels(),
    "label": Label(),
    "classes": Classes(),
    "boxes": Boxes(2),
  }
  class_names = NAMES
  skipped = ()

  def __init__(self, count, seed):
    self._rng = np.random.default_rng(seed)
    self.labels = (np.arange(count) % len(NAMES)).astype(np.int32)
    self._middles = self._rng.uniform(5, 11, (count, 2))
    self._radii = self._rng.uniform(2, 4, count)

  def __len__(self):
    return len(self.labels)

  def name(self, i):
    """Name of an image."""
    return f"{NAMES[self.labels[i]]} {i}"

  def __getitem__(self, i):
    inside = self._inside(i)
    noise = np.random.default_rng(i).integers(0, 60, (SIZE, SIZE, 3))
    colour = np.eye(3, dtype=int)[self.labels[i]] * 150 + 40
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    box = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
    return {
      "image": np.where(inside[..., None], colour, noise).astype(np.uint8),
      "label": int(self.labels[i]),
      "name": self.name(i),
      "classes": np.where(inside, self.labels[i] + 1, 0).astype(np.int32),
      "boxes": {
        "boxes": np.array([box], np.float32) / SIZE,
        "classes": self.labels[i : i + 1],
      },
    }

  def _inside(self, i):
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    (cy, cx), r = self._middles[i], self._radii[i]
    if self.labels[i]:
      return np.maximum(abs(y - cy), abs(x - cx)) < r
    return (y - cy) ** 2 + (x - cx) ** 2 < r**2


def load(data, split, seed):
  """The images of a split."""
  del data
  return Shapes(COUNTS[split], seed * 2 + (split == "test"))
