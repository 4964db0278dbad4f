"""Sources: the examples of a data set by index, with labels and names.

`datasets` opens them, and `stream` makes batches of them.
"""

from collections.abc import Sequence
import dataclasses
import os
from typing import Protocol, runtime_checkable

from jaxtyping import Int32
import numpy as np


@runtime_checkable
class Source(Protocol):
  """Examples by index: all that the rest of protojax knows of a data set.

  A source of other things than images with a label also has `fields`; see
  `data.fields`. One whose examples belong together in groups (the slices of a
  volume) has `groups`, the number of each example's group.
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """Index = label; empty if the images have no labels."""
    ...

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """(name, reason) of each image that could not be read."""
    ...

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Class of each image; -1 is unknown."""
    ...

  def __len__(self) -> int: ...

  def __getitem__(self, i: int) -> dict:
    """Each field by name, and "name".

    Without `fields`: {"image": uint8 [H, W, 3] RGB, "label": int, "name": str}.
    """
    ...

  def name(self, i: int) -> str:
    """Name of an image for reports; decodes nothing."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class Subset:
  """Chosen images of a source, with labels of the subset's own.

  Attributes:
    whole: the source.
    rows: index in the source of each image of the subset.
    labels: class of each image; -1 is unknown.
    class_names: index = label.
  """

  whole: Source
  rows: Int32[np.ndarray, "n"]
  labels: Int32[np.ndarray, "n"]
  class_names: tuple[str, ...]

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """As in the whole source."""
    return self.whole.skipped

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, i: int) -> dict:
    return {**self.whole[int(self.rows[i])], "label": int(self.labels[i])}

  def name(self, i: int) -> str:
    """Name of the image in the whole source."""
    return self.whole.name(int(self.rows[i]))


def origin(source: Source) -> tuple[Source, Int32[np.ndarray, "n"]]:
  """The source behind a subset, and the row there of each example."""
  rows = np.arange(len(source), dtype=np.int32)
  while isinstance(source, Subset):
    source, rows = source.whole, source.rows[rows]
  return source, rows


def subset(source: Source, rows: Sequence[int] | np.ndarray) -> Subset:
  """Some of the images of a source, in the order of `rows`."""
  chosen = np.asarray(rows, np.int32)
  labels = np.asarray(source.labels)[chosen]
  labels = labels.astype(np.int32, casting="same_kind")
  return Subset(source, chosen, labels, source.class_names)


def of_classes(source: Source, class_names: tuple[str, ...]) -> Source:
  """The source if it has these classes; else its images without labels."""
  if tuple(source.class_names) == class_names:
    return source
  rows = np.arange(len(source), dtype=np.int32)
  return Subset(source, rows, np.full_like(rows, -1), class_names)


def printable(name: str) -> str:
  """The name of a file as text that can be printed; it need not be UTF-8."""
  return os.fsencode(name).decode("utf-8", "backslashreplace")
