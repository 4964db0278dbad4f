"""Collections: the normal and defective images of a data set, before any split.

A collection lists its images without reading them; `anomalies.load` chooses the
categories and the split. `FileCollection` holds image files in any layout of
folders, and `JoinedCollection` makes one collection of several.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import os
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, UInt8
import numpy as np

from protojax.data import images as images_lib
from protojax.datasets import image_check, truths
from protojax.types import UserError

NORMAL = "normal"  # the kind of an image without a defect


@dataclasses.dataclass(frozen=True)
class Entry:
  """One image of a collection.

  Attributes:
    name: tells it from all others; of a file, its path in the data set.
    category: what it shows, such as "bottle".
    kind: of its defects; `NORMAL` if it has none.
    split: "train", "calibration" or "test", or "" where the data set leaves
      open which of the normal images are for testing.
  """

  name: str
  category: str
  kind: str
  split: str


@runtime_checkable
class Collection(Protocol):
  """Images by row; what `anomaly` knows of a data set."""

  @property
  def title(self) -> str:
    """What messages call it: its folder, or its name."""
    ...

  @property
  def entries(self) -> Sequence[Entry]:
    """All images, those of a category together."""
    ...

  @property
  def has_truth(self) -> bool:
    """Whether it knows which pixels are defective."""
    ...

  def broken(self, rows: Sequence[int]) -> Mapping[int, str]:
    """Row -> reason, for those of the rows that cannot be read."""
    ...

  def require_truth(self, rows: Sequence[int]) -> None:
    """Raises a UserError where the truth of a defective image is no good."""
    ...

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels, RGB, at the image's own size."""
    ...

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """The defective pixels, at the image's own size."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class FileCollection:
  """A collection of image files.

  Attributes:
    root: the folder that names and masks are relative to.
    entries: the name of each is its path.
    masks: where the mask of each image lies or should lie; '' of normal ones.
    has_truth: False if no image has a mask.
  """

  root: str
  entries: tuple[Entry, ...]
  masks: tuple[str, ...]
  has_truth: bool = True

  @property
  def title(self) -> str:
    """The folder."""
    return self.root

  def path(self, row: int) -> str:
    """Where an image lies."""
    return os.path.join(self.root, self.entries[row].name)

  def broken(self, rows: Sequence[int]) -> dict[int, str]:
    """Row -> reason, for those of the rows that cannot be read."""
    names = {row: self.entries[row].name for row in rows}
    bad = image_check.unreadable(self.root, tuple(names.values()))
    return {row: bad[name] for row, name in names.items() if name in bad}

  def require_truth(self, rows: Sequence[int]) -> None:
    """Requires a mask as large as its image for each defective one.

    Raises:
      UserError: a mask is missing, broken or of another size.
    """
    if self.has_truth:
      pairs = [(self.entries[row].name, self.masks[row]) for row in rows]
      truths.require(self.root, [pair for pair in pairs if pair[1]])

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of an image.

    Raises:
      UserError: the file is no longer what it was.
    """
    try:
      return images_lib.decode(self.path(row))
    except ValueError as e:
      raise _changed(self.path(row), e) from e

  def content(self, row: int) -> bytes:
    """The file of an image as it is.

    Raises:
      UserError: it is no longer there.
    """
    try:
      with open(self.path(row), "rb") as file:
        return file.read()
    except OSError as e:
      raise _changed(self.path(row), e) from e

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """The defective pixels of an image, from its mask.

    Raises:
      UserError: a file is no longer what it was.
    """
    mask = self.masks[row]
    path = os.path.join(self.root, mask) if mask else self.path(row)
    try:
      return truths.read(path) if mask else np.zeros(truths.size(path), bool)
    except (ValueError, OSError) as e:
      raise _changed(path, e) from e


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedCollection:
  """Several collections as one: every category of every one of them.

  Attributes:
    collections: the collections, by the name that goes before those of their
      images and categories.
  """

  collections: Mapping[str, Collection]

  @functools.cached_property
  def entries(self) -> tuple[Entry, ...]:
    """All images, those of a collection together."""
    return tuple(
      dataclasses.replace(
        entry,
        name=os.path.join(name, entry.name),
        category=f"{name}/{entry.category}",
      )
      for name, one in self.collections.items()
      for entry in one.entries
    )

  @functools.cached_property
  def _places(self) -> tuple[tuple[str, int], ...]:
    """(name of the collection, row there) of each row."""
    return tuple(
      (name, row)
      for name, one in self.collections.items()
      for row in range(len(one.entries))
    )

  @property
  def title(self) -> str:
    """Their folders."""
    return ",".join(one.title for one in self.collections.values())

  @property
  def has_truth(self) -> bool:
    """Whether all of them do."""
    return all(one.has_truth for one in self.collections.values())

  def broken(self, rows: Sequence[int]) -> dict[int, str]:
    """Row -> reason, for those of the rows that cannot be read."""
    found = {}
    for name, one in self.collections.items():
      own = {self._places[r][1]: r for r in rows if self._places[r][0] == name}
      bad = one.broken(tuple(own))
      found |= {own[row]: reason for row, reason in bad.items()}
    return found

  def require_truth(self, rows: Sequence[int]) -> None:
    """As each of them does, of its own rows."""
    for name, one in self.collections.items():
      own = (self._places[row] for row in rows)
      one.require_truth([row for place, row in own if place == name])

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of an image."""
    name, own = self._places[row]
    return self.collections[name].image(own)

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """The defective pixels of an image."""
    name, own = self._places[row]
    return self.collections[name].truth(own)


def _changed(path: str, error: Exception) -> UserError:
  return UserError(
    f"{path} was readable when the data were opened and is not now: {error}"
  )
