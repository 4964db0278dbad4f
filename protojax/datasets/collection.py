"""Collections: the normal and defective images of a data set, before any split.

A collection lists its images without reading them; `anomalies.open_split`
chooses the categories and the split. `FileCollection` holds image files in any
layout of folders, and `joined` makes one collection of several.
"""

from collections.abc import Callable, Mapping, Sequence
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
    name: no other image has it; of a file, its path in the data set.
    category: of the object it shows, such as "bottle".
    kind: of its defects; `NORMAL` if it has none.
    split: "train", "calibration" or "test"; "" if the data set does not say
      which of its normal images to test on.
  """

  name: str
  category: str
  kind: str
  split: str


@runtime_checkable
class Collection(Protocol):
  """Images by row: all that `anomalies` knows of a data set."""

  @property
  def title(self) -> str:
    """Folder or name of the data set, for messages."""
    ...

  @property
  def entries(self) -> Sequence[Entry]:
    """All images; those of one category stand together."""
    ...

  @property
  def has_truth(self) -> bool:
    """True if the defective pixels are known."""
    ...

  def broken(self, rows: Sequence[int]) -> Mapping[int, str]:
    """Row -> reason, for the rows that cannot be read."""
    ...

  def require_truth(self, rows: Sequence[int]) -> None:
    """Raises UserError if the mask of a defective image cannot be used."""
    ...

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels, RGB, at the image's own size."""
    ...

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """Mask of the defective pixels, at the image's own size."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class FileCollection:
  """A collection of image files.

  Attributes:
    root: the folder that names and masks are relative to.
    entries: images; the name of each is its path.
    masks: path of each image's mask, there or not; '' for normal images.
    has_truth: False if no image has a mask.
    skipped: (name, reason) of what is passed over below the folder.
  """

  root: str
  entries: tuple[Entry, ...]
  masks: tuple[str, ...]
  has_truth: bool = True
  skipped: tuple[tuple[str, str], ...] = ()

  @property
  def title(self) -> str:
    """The folder."""
    return self.root

  def path(self, row: int) -> str:
    """Path of an image."""
    return os.path.join(self.root, self.entries[row].name)

  def broken(self, rows: Sequence[int]) -> dict[int, str]:
    """Row -> reason, for the rows that cannot be read."""
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
    """Pixels of an image.

    Raises:
      UserError: the file has changed and cannot be read.
    """
    try:
      return images_lib.decode(self.path(row))
    except ValueError as e:
      raise _changed(self.path(row), e) from e

  def content(self, row: int) -> bytes:
    """Bytes of an image's file.

    Raises:
      UserError: it is no longer there.
    """
    try:
      with open(self.path(row), "rb") as file:
        return file.read()
    except OSError as e:
      raise _changed(self.path(row), e) from e

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """Mask of the defective pixels, from its file.

    Raises:
      UserError: a file has changed and cannot be read.
    """
    mask = self.masks[row]
    path = os.path.join(self.root, mask) if mask else self.path(row)
    try:
      return truths.read(path) if mask else np.zeros(truths.size(path), bool)
    except (ValueError, OSError) as e:
      raise _changed(path, e) from e


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedCollection:
  """Several collections as one, with all their categories.

  Attributes:
    collections: name -> collection; the name begins the names of its images and
      categories.
  """

  collections: Mapping[str, Collection]

  @functools.cached_property
  def entries(self) -> tuple[Entry, ...]:
    """All images; those of one collection stand together."""
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
    """Titles of the collections, joined by commas."""
    return ",".join(one.title for one in self.collections.values())

  @property
  def has_truth(self) -> bool:
    """True if every collection knows its defective pixels."""
    return all(one.has_truth for one in self.collections.values())

  def broken(self, rows: Sequence[int]) -> dict[int, str]:
    """Row -> reason, for the rows that cannot be read."""
    found = {}
    for name, one in self.collections.items():
      own = {self._places[r][1]: r for r in rows if self._places[r][0] == name}
      bad = one.broken(tuple(own))
      found |= {own[row]: reason for row, reason in bad.items()}
    return found

  def require_truth(self, rows: Sequence[int]) -> None:
    """Lets each collection check its own rows."""
    for name, one in self.collections.items():
      own = (self._places[row] for row in rows)
      one.require_truth([row for place, row in own if place == name])

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of an image."""
    name, own = self._places[row]
    return self.collections[name].image(own)

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """Mask of the defective pixels."""
    name, own = self._places[row]
    return self.collections[name].truth(own)


def passed_over(collection: Collection) -> tuple[tuple[str, str], ...]:
  """(name, reason) of links, special files and folders that are not read."""
  if isinstance(collection, FileCollection):
    return collection.skipped
  if isinstance(collection, JoinedCollection):
    return tuple(
      (os.path.join(name, own), why)
      for name, one in collection.collections.items()
      for own, why in passed_over(one)
    )
  return ()


def joined(roots: str, read: Callable[[str], Collection]) -> Collection:
  """The collections of folders as one.

  Args:
    roots: a folder, or several joined by commas.
    read: gives the collection of a folder.

  Raises:
    UserError: a folder is not there, or not as expected.
  """
  folders = _folders(roots)
  collections = [read(folder) for folder in folders]
  if len(collections) == 1:
    return collections[0]
  names = [os.path.basename(os.path.realpath(folder)) for folder in folders]
  if len(set(names)) < len(names):  # folders above tell them apart
    common = os.path.commonpath([os.path.abspath(f) for f in folders])
    names = [os.path.relpath(folder, common) for folder in folders]
  return JoinedCollection(dict(zip(names, collections, strict=True)))


def _folders(text: str) -> list[str]:
  # A comma may belong to the name of one folder.
  whole = os.path.isdir(os.path.expanduser(text))
  roots = [text] if whole else [name.strip() for name in text.split(",")]
  roots = [os.path.normpath(os.path.expanduser(r)) for r in roots if r]
  if not roots:
    raise UserError("no folder of images given: set --config.data.root=DIR")
  for root in roots:
    if not os.path.isdir(root):
      what = "is a file" if os.path.exists(root) else "is not there"
      raise UserError(f"{root} {what}: set --config.data.root=DIR")
  if len({os.path.realpath(root) for root in roots}) < len(roots):
    raise UserError(f"--config.data.root={text} names a folder twice")
  return roots


def _changed(path: str, error: Exception) -> UserError:
  return UserError(
    f"{path} was readable when the data were opened and is not now: {error}"
  )
