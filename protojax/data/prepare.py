"""A folder of normal and defective images as one TFDS data set.

Many small files become few large ones, which are read by index; a network file
system likes them better. `write` makes them from any layout of `layouts`, and
`load` opens them with the same images, in the same order, as the folder.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import itertools
import os
from pathlib import Path
import shutil
import tempfile
from typing import Any

from jaxtyping import Bool, UInt8
import numpy as np

from protojax import writing
from protojax.data import images as images_lib
from protojax.data import layouts, truths
from protojax.data.collection import NORMAL, Entry, OfFiles, printable
from protojax.types import UserError

NAME = "protojax_anomaly"
VERSION = "1.0.0"
_SHARD = 1000  # images in a file
_TOGETHER = 64  # images written at a time
_COLUMNS = ("name", "category", "kind", "split")


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """A collection of TFDS records.

  Attributes:
    title: the folder it was opened from.
    entries: as they were in the folder it was made from.
    records: split -> {"image", "truth": encoded bytes, ...} by index.
  """

  title: str
  entries: tuple[Entry, ...]
  records: dict[str, Any]
  has_truth: bool = True

  @functools.cached_property
  def _place(self) -> tuple[tuple[str, int], ...]:
    """The split each image is kept in, and its index there."""
    counts = {split: itertools.count() for split in self.records}
    splits = [_split(entry) for entry in self.entries]
    return tuple((split, next(counts[split])) for split in splits)

  def broken(self, rows: Sequence[int]) -> dict[int, str]:
    """None: they were read when the data set was made."""
    del rows
    return {}

  def require_truth(self, rows: Sequence[int]) -> None:
    """Nothing to require: the masks were read when it was made."""

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of an image."""
    return self._read(row, "image", images_lib.decode)

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """The defective pixels of an image."""
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


def load(root: str) -> Prepared:
  """Opens what `write` wrote.

  Args:
    root: an existing folder, the `output` of `write`.

  Raises:
    UserError: there is no such data set in it.
  """
  import tensorflow_datasets as tfds

  folder = _home(Path(root))
  if not folder.is_dir():
    raise UserError(
      f"{root} holds no prepared data set: make one with python -m protojax"
      f" prepare anomaly --source=DIR --output={root}"
    )
  builder = tfds.builder_from_directory(str(folder))
  encoded = ("image", "truth")
  decoders: Any = {name: tfds.decode.SkipDecoding() for name in encoded}
  try:
    columns = [builder.info.metadata[column] for column in _COLUMNS]
    records = {
      split: builder.as_data_source(split, decoders=decoders)
      for split in builder.info.splits
    }
    entries = tuple(Entry(*row) for row in zip(*columns, strict=True))
    return Prepared(root, entries, records)
  except (KeyError, ValueError, OSError) as e:
    raise UserError(f"{folder} is damaged ({e!r}); prepare it again") from e


def write(
  source: str,
  output: str,
  begin: Callable[[int], Any] = lambda total: None,
  advance: Callable[[], Any] = lambda: None,
) -> tuple[tuple[str, str], ...]:
  """Writes the data set of a folder, whole or not at all.

  The image files go into it as they are, the masks as black and white.

  Args:
    source: a folder in one of the layouts.
    output: the folder to write to; made if it is not there.
    begin: called with the number of images, before the first is written.
    advance: called after each image.

  Returns:
    (name, reason) of the images that could not be read and are left out.

  Raises:
    UserError: the folder is not as expected, or the data set cannot be written.
  """
  if not os.path.isdir(source):
    raise UserError(f"--source={source} is not a folder")
  home = _home(Path(output))
  if home.exists():
    raise UserError(f"{home} is there already: remove it, or take another")
  collection = layouts.load(source)
  entries = collection.entries
  bad = collection.broken(range(len(entries)))
  rows = [row for row in range(len(entries)) if row not in bad]
  if not rows:
    raise UserError(f"no image in {source} can be read")
  collection.require_truth([r for r in rows if entries[r].kind != NORMAL])
  begin(len(rows))
  try:
    _write_and_move(collection, rows, home, advance)
  # The library that writes records says in its own words that a disk is full.
  except (OSError, RuntimeError) as e:
    raise UserError(
      f"cannot write to {output}: {writing.reason(e)}. Make room or take"
      " another --output; nothing was left there"
    ) from e
  return tuple((printable(entries[r].name), why) for r, why in bad.items())


def _write_and_move(
  collection: OfFiles, rows: Sequence[int], home: Path, advance: Callable
) -> None:
  output = home.parents[1]
  output.mkdir(parents=True, exist_ok=True)
  workshop = tempfile.mkdtemp(dir=output, prefix=".anomaly-")
  try:
    made = _home(Path(workshop))
    _write(collection, rows, made, advance)
    home.parent.mkdir(exist_ok=True)
    os.rename(made, home)
  finally:
    shutil.rmtree(workshop, ignore_errors=True)


def _write(
  collection: OfFiles, rows: Sequence[int], folder: Path, advance: Callable
) -> None:
  import tensorflow_datasets as tfds

  entries = [collection.entries[row] for row in rows]
  kinds = sorted({entry.kind for entry in entries} - {NORMAL})
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name=NAME,
      version=tfds.core.Version(VERSION),
      data_dir=str(folder),
      module_name=__name__,
    ),
    description="Normal and defective images, with their defective pixels.",
    features=tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(shape=(None, None, None)),
        "truth": tfds.features.Image(
          shape=(None, None, 1), encoding_format="png"
        ),
        "label": tfds.features.ClassLabel(
          names=[printable(kind) for kind in (NORMAL, *kinds)]
        ),
        "category": tfds.features.Text(),
        "name": tfds.features.Text(),
      }
    ),
  )
  folder.mkdir(parents=True)
  writer = tfds.core.SequentialWriter(info, _SHARD, file_format="array_record")
  splits = sorted({_split(entry) for entry in entries})
  writer.initialize_splits(splits)
  for start in range(0, len(rows), _TOGETHER):
    examples: dict[str, list] = {split: [] for split in splits}
    for row in rows[start : start + _TOGETHER]:
      split = _split(collection.entries[row])
      examples[split].append(_example(collection, row))
      advance()
    writer.add_examples(examples)
  writer.close_splits(splits)
  # Last, for the writer writes all it knows anew with each chunk.
  columns = {c: [getattr(e, c) for e in entries] for c in _COLUMNS}
  tfds.core.MetadataDict(columns).save_metadata(folder)


def _example(collection: OfFiles, row: int) -> dict[str, str | bytes]:
  entry = collection.entries[row]
  return {
    "image": collection.content(row),
    "truth": truths.png(collection.truth(row)),
    "label": printable(entry.kind),
    "category": printable(entry.category),
    "name": printable(entry.name),
  }


def _split(entry: Entry) -> str:
  """Where it is kept; whether a normal image is for testing may be open."""
  return entry.split or "train"


def _home(output: Path) -> Path:
  return output / NAME / VERSION
