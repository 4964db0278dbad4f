"""A data set as the rest of protojax knows it: images by index."""

import dataclasses
from typing import Protocol, runtime_checkable

from jaxtyping import Int32, UInt8
import numpy as np


@runtime_checkable
class Source(Protocol):
  """Images by index; what the rest of protojax knows of a data set."""

  @property
  def class_names(self) -> tuple[str, ...]:
    """By label; empty if the images have no labels."""
    ...

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """Name and reason of each image that could not be read."""
    ...

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Class of each image; -1 is unknown."""
    ...

  def __len__(self) -> int: ...

  def __getitem__(self, i: int) -> dict:
    """{"image": uint8 [H, W, 3] RGB as it is, "label": int, "name": str}."""
    ...

  def name(self, i: int) -> str:
    """What to call an image, without decoding it."""
    ...

  def digest(self, i: int) -> UInt8[np.ndarray, "16"]:
    """Hash of the pixels: the same image, whatever its file."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class Subset:
  """Some of the images of a source.

  Attributes:
    whole: the source.
    rows: which of its images, in this order.
  """

  whole: Source
  rows: Int32[np.ndarray, "n"]

  @property
  def class_names(self) -> tuple[str, ...]:
    """Those of the whole, by label."""
    return self.whole.class_names

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """Those of the whole."""
    return self.whole.skipped

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Class of each image."""
    return self.whole.labels[self.rows]

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, i: int) -> dict:
    return self.whole[int(self.rows[i])]

  def name(self, i: int) -> str:
    """What the whole calls the image."""
    return self.whole.name(int(self.rows[i]))

  def digest(self, i: int) -> UInt8[np.ndarray, "16"]:
    """Hash of the pixels of one image."""
    return self.whole.digest(int(self.rows[i]))
