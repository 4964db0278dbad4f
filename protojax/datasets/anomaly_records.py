"""Normal and defective images as the records of a TFDS data set.

`write` makes the records of a folder in any layout of `layouts`; `opened` gives
them as a collection with the same images in the same order. A network file
system reads few large files faster than many small ones.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools
import itertools
import os
from typing import Any, TypedDict

from jaxtyping import Bool, UInt8
import numpy as np

from protojax import json_files, typed
from protojax.data import images as images_lib
from protojax.data.source import printable
from protojax.datasets import array_records as records
from protojax.datasets import layouts, record_folder, truths
from protojax.datasets.collection import NORMAL, Entry, FileCollection
from protojax.types import UserError

NAME = "protojax_anomaly"
VERSION = "1.0.0"
_COLUMNS = ("name", "category", "kind", "split")
_WAY_OUT = "prepare the data set again"


class _Listed(TypedDict):
  """metadata.json: a list for each of `_COLUMNS`."""

  name: list[str]
  category: list[str]
  kind: list[str]
  split: list[str]


@dataclasses.dataclass(frozen=True, eq=False)
class AnomalyRecords:
  """A collection of TFDS records.

  Attributes:
    title: the folder it was opened from.
    entries: images, as in the folder that was written.
    records: split -> {"image", "truth": encoded bytes, ...} by index.
  """

  title: str
  entries: tuple[Entry, ...]
  records: dict[str, Any]
  has_truth: bool = True

  @functools.cached_property
  def _place(self) -> tuple[tuple[str, int], ...]:
    """(split, index there) of the record of each image."""
    counts = {split: itertools.count() for split in self.records}
    splits = [_split(entry) for entry in self.entries]
    return tuple((split, next(counts[split])) for split in splits)

  def broken(self, rows: Sequence[int]) -> dict[int, str]:
    """Empty: `write` left unreadable images out."""
    del rows
    return {}

  def require_truth(self, rows: Sequence[int]) -> None:
    """Nothing to check: `write` read the masks."""

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of an image."""
    return self._read(row, "image", images_lib.decode)

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """Mask of the defective pixels."""
    return self._read(row, "truth", truths.read)

  def _read(self, row: int, feature: str, decode: Callable) -> np.ndarray:
    split, position = self._place[row]
    try:
      return decode(self.records[split][position][feature])
    except ValueError as e:
      raise UserError(
        f"{self.title} is damaged at {self.entries[row].name} ({e}); prepare"
        " it again"
      ) from e


def opened(root: str) -> AnomalyRecords:
  """Opens the records that `write` wrote.

  Args:
    root: an existing folder, the `output` of `write`.

  Raises:
    UserError: there is no such data set in it.
  """
  import tensorflow_datasets as tfds

  folder = records.home(root, NAME, VERSION)
  if not folder.is_dir():
    raise UserError(
      f"{root} holds no prepared data set: make one with"
      f" {typed.command('prepare')} anomaly --source=DIR --output={root}"
    )
  builder = record_folder.opened(folder)
  encoded = {"image": bytes, "truth": bytes}
  decoders = {name: tfds.decode.SkipDecoding() for name in encoded}
  by_split = {
    split: record_folder.Checked(builder, split, decoders, encoded)
    for split in builder.info.splits
  }
  listed = folder / "metadata.json"
  columns = json_files.read_json(listed, _Listed, _WAY_OUT)
  rows = zip(*(columns[column] for column in _COLUMNS), strict=False)
  entries = tuple(Entry(*row) for row in rows)
  counts = collections.Counter(map(_split, entries))
  held = {split: len(found) for split, found in by_split.items()}
  if counts != held or any(len(columns[c]) != len(entries) for c in _COLUMNS):
    raise UserError(
      f"{listed} lists {dict(counts)} images, but {folder} holds {held}:"
      f" {_WAY_OUT}"
    )
  return AnomalyRecords(root, entries, by_split)


def write(
  source: str,
  output: str,
  begin: Callable[[int], Any] = lambda total: None,
  advance: Callable[[], Any] = lambda: None,
) -> records.Outcome:
  """Writes the data set of a folder, whole or not at all.

  Image files are stored unchanged, masks as black and white.

  Args:
    source: a folder in one of the layouts.
    output: the folder to write to; made if it is not there.
    begin: called with the number of images, before the first is written.
    advance: called after each image.

  Raises:
    UserError: the folder is not as expected, or the data set cannot be written.
  """
  if not os.path.isdir(source):
    raise UserError(f"--source={source} is not a folder")
  records.require_room(output, NAME, VERSION)
  collection = layouts.read(source)
  entries = collection.entries
  bad = collection.broken(range(len(entries)))
  rows = [row for row in range(len(entries)) if row not in bad]
  if not rows:
    raise UserError(f"no image in {source} can be read")
  collection.require_truth([r for r in rows if entries[r].kind != NORMAL])
  begin(len(rows))
  records.write(output, _content(collection, rows, advance))
  splits = [_split(entries[row]) for row in rows]
  return records.Outcome(
    {split: splits.count(split) for split in sorted(set(splits))},
    tuple(
      (printable(name), why)
      for name, why in (
        *collection.skipped,
        *((entries[row].name, why) for row, why in bad.items()),
      )
    ),
  )


def _content(
  collection: FileCollection, rows: Sequence[int], advance: Callable
) -> records.Content:
  import tensorflow_datasets as tfds

  entries = [collection.entries[row] for row in rows]
  kinds = sorted({entry.kind for entry in entries} - {NORMAL})

  def examples() -> Iterator[tuple[str, dict]]:
    for row in rows:
      yield _split(collection.entries[row]), _example(collection, row)
      advance()

  return records.Content(
    name=NAME,
    version=VERSION,
    description="Normal and defective images, with their defective pixels.",
    features={
      "image": tfds.features.Image(shape=(None, None, None)),
      "truth": tfds.features.Image(
        shape=(None, None, 1), encoding_format="png"
      ),
      "label": tfds.features.ClassLabel(
        names=[printable(kind) for kind in (NORMAL, *kinds)]
      ),
      "category": tfds.features.Text(),
      "name": tfds.features.Text(),
    },
    splits=sorted({_split(entry) for entry in entries}),
    examples=examples(),
    metadata=lambda: {c: [getattr(e, c) for e in entries] for c in _COLUMNS},
  )


def _example(collection: FileCollection, row: int) -> dict[str, str | bytes]:
  entry = collection.entries[row]
  return {
    "image": collection.content(row),
    "truth": truths.png(collection.truth(row)),
    "label": printable(entry.kind),
    "category": printable(entry.category),
    "name": printable(entry.name),
  }


def _split(entry: Entry) -> str:
  """Split of its record: "train" if the data set does not say."""
  return entry.split or "train"
