"""Labelled photographs as the records of a TFDS data set.

A reader such as `cub200` lists the photographs of an archive; `write` stores
them. Image files are stored unchanged, with boxes and parts beside them. `tfds`
crops an image when it is read, so that nothing is compressed a second time.
"""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import hashlib
from typing import Any

import numpy as np

from protojax.data import images as images_lib
from protojax.data.source import printable
from protojax.datasets import archive, array_records, box_shares
from protojax.datasets.archive import Archive
from protojax.types import UserError

VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True)
class Photo:
  """One image of a data set.

  Attributes:
    path: in the archive.
    name: in reports.
    label: its class.
    split: "train" or "test", or another of the data set.
    boxes: left, top, width and height of each object of its class, in pixels.
    more: further features.
  """

  path: str
  name: str
  label: int
  split: str
  boxes: tuple[tuple[int, int, int, int], ...] = ()
  more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Listing:
  """The images of a data set.

  Attributes:
    name: of the data set that is written.
    class_names: index = label.
    photos: all images.
    boxes: "" if the images have none, "bbox" if each has one, "objects" if each
      has several; it is the name of the feature, as in TFDS.
    more: connectors of the further features.
    metadata: stored beside the images, such as the names of parts.
    passed_over: name -> reason of what lies beside them and is not read.
  """

  name: str
  class_names: tuple[str, ...]
  photos: tuple[Photo, ...]
  boxes: str = ""
  more: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  passed_over: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write(
  read: Callable[[Archive], Listing],
  source: str,
  output: str,
  begin: Callable[[int], Any] = lambda total: None,
  advance: Callable[[], Any] = lambda: None,
) -> array_records.Outcome:
  """Writes the data set of an archive, whole or not at all.

  Args:
    read: makes the listing, such as `cub200.read`.
    source: a folder, an archive, or a folder of archives.
    output: the folder to write to; made if it is not there.
    begin: called with the number of images, before the first is written.
    advance: called after each image.

  Raises:
    UserError: the source is not as expected, a file is missing or a class has
      no readable image, or the data set cannot be written.
  """
  files = archive.opened(source)
  listing = read(files)
  _require_files(files, listing)
  array_records.require_room(output, listing.name, VERSION)
  begin(len(listing.photos))
  writing = _Writing(files, listing, advance)
  array_records.write(output, writing.content())
  return writing.outcome()


def _require_files(files: Archive, listing: Listing) -> None:
  known = set(files.names)
  missing = [p.path for p in listing.photos if p.path not in known]
  if missing:
    more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
    raise UserError(
      f"{files.title} lacks {printable(missing[0])}{more} of the"
      f" {len(listing.photos):,} images that its lists name: get it again"
    )


class _Writing:
  """Makes the examples to write, and counts those written and skipped."""

  def __init__(
    self, files: Archive, listing: Listing, advance: Callable
  ) -> None:
    self._files = files
    self._listing = listing
    self._advance = advance
    self._written: list[tuple[str, Photo]] = []  # MD5 of each image
    passed_over = (*files.skipped, *listing.passed_over.items())
    self._skipped = [(printable(name), why) for name, why in passed_over]

  def content(self) -> array_records.Content:
    """The data set, for `array_records.write`."""
    import tensorflow_datasets as tfds

    listing, box = self._listing, tfds.features.BBoxFeature()
    by_kind: dict[str, dict] = {
      "": {},
      "bbox": {"bbox": box},
      "objects": {"objects": tfds.features.Sequence({"bbox": box})},
    }
    return array_records.Content(
      name=listing.name,
      version=VERSION,
      description=f"{listing.name}, prepared by protojax.",
      features={
        "image": tfds.features.Image(shape=(None, None, None)),
        "label": tfds.features.ClassLabel(
          names=[printable(name) for name in listing.class_names]
        ),
        "name": tfds.features.Text(),
        "md5": tfds.features.Text(),
        **by_kind[listing.boxes],
        **listing.more,
      },
      splits=sorted({photo.split for photo in listing.photos}),
      examples=self._examples(),
      metadata=self._metadata,
    )

  def outcome(self) -> array_records.Outcome:
    """Counts of the written images."""
    splits = [photo.split for _, photo in self._written]
    return array_records.Outcome(
      {split: splits.count(split) for split in sorted(set(splits))},
      tuple(self._skipped),
      tuple(self._overlap()),
    )

  def _examples(self) -> Iterator[tuple[str, dict]]:
    photos = {photo.path: photo for photo in self._listing.photos}
    for path, file in self._files.read(photos):
      photo = photos[path]
      try:
        example = self._example(photo, file)
      except ValueError as e:
        why = str(e) if file else "empty file"
        self._skipped.append((printable(photo.name), why))
      else:
        self._written.append((example["md5"], photo))
        yield photo.split, example
      self._advance()
    self._require_classes()

  def _example(self, photo: Photo, file: bytes) -> dict[str, Any]:
    height, width, _ = images_lib.decode(file).shape
    found = [box_shares.shares(box, height, width) for box in photo.boxes]
    by_kind: dict[str, dict] = {
      "": {},
      "bbox": {"bbox": found[0]} if found else {},
      "objects": {"objects": [{"bbox": box} for box in found]},
    }
    return {
      "image": file,
      "label": photo.label,
      "name": printable(photo.name),
      "md5": hashlib.md5(file, usedforsecurity=False).hexdigest(),
      **by_kind[self._listing.boxes],
      **photo.more,
    }

  def _require_classes(self) -> None:
    """Requires an image of every class in every split."""
    for split in sorted({photo.split for photo in self._listing.photos}):
      labels = [p.label for _, p in self._written if p.split == split]
      counts = np.bincount(labels, minlength=len(self._listing.class_names))
      if not counts.all():
        name = printable(self._listing.class_names[int(np.argmin(counts))])
        raise UserError(
          f"class {name!r} in {self._files.title} has no readable {split}"
          " image: add some, or remove the class"
        )

  def _metadata(self) -> dict[str, Any]:
    return {
      **self._listing.metadata,
      "skipped": self._skipped,
      "overlap": list(self._overlap()),
    }

  def _overlap(self) -> Iterator[tuple[str, str]]:
    first: dict[str, Photo] = {}
    for digest, photo in self._written:
      other = first.setdefault(digest, photo)
      if other.split != photo.split:
        yield printable(other.name), printable(photo.name)
