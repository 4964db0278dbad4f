"""Writes TFDS data sets as ArrayRecord without TensorFlow, whole or not at all.

Examples hold encoded bytes, never arrays of pixels: those would need
TensorFlow. What is written is read by `tfds.builder_from_directory`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import itertools
import os
from pathlib import Path
import shutil
import tempfile
from typing import Any

from protojax import writing
from protojax.types import UserError

_SHARD = 1000  # examples in a file
_TOGETHER = 64  # examples written at a time


@dataclasses.dataclass(frozen=True)
class Content:
  """What a data set is made of.

  Attributes:
    name: of the data set; TFDS has it as the folder below the output.
    version: of how it is written.
    description: in a sentence.
    features: name -> connector of `tfds.features`.
    splits: their names.
    examples: (split, features) of each example; read once, as it is written.
    metadata: called after the last example; what it gives is kept beside them.
  """

  name: str
  version: str
  description: str
  features: Mapping[str, Any]
  splits: Sequence[str]
  examples: Iterable[tuple[str, Mapping[str, Any]]]
  metadata: Callable[[], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What has been written.

  Attributes:
    counts: images by split.
    skipped: (name, reason) of the images that are left out.
    overlap: names of the same file in two splits, by the MD5 of its bytes.
  """

  counts: Mapping[str, int]
  skipped: tuple[tuple[str, str], ...]
  overlap: tuple[tuple[str, str], ...] = ()


def home(output: str | Path, name: str, version: str) -> Path:
  """Where a data set lies below the folder it was written to."""
  return Path(output) / name / version


def require_room(output: str, name: str, version: str) -> None:
  """Raises UserError if there is such a data set already."""
  folder = home(output, name, version)
  if folder.exists():
    raise UserError(f"{folder} is there already: remove it, or take another")


def write(output: str, content: Content) -> None:
  """Writes a data set beside its place and moves it there in one step.

  Raises:
    UserError: the output cannot be written, or has the data set already.
  """
  require_room(output, content.name, content.version)
  try:
    _write_and_move(Path(output), content)
  # The library that writes records says in its own words that a disk is full.
  except (OSError, RuntimeError) as e:
    raise UserError(
      f"cannot write to {output}: {writing.reason(e)}. Make room or take"
      " another --output; nothing was left there"
    ) from e


def _write_and_move(output: Path, content: Content) -> None:
  output.mkdir(parents=True, exist_ok=True)
  temporary = tempfile.mkdtemp(dir=output, prefix=f".{content.name}-")
  try:
    made = home(temporary, content.name, content.version)
    _write(made, content)
    place = home(output, content.name, content.version)
    place.parent.mkdir(exist_ok=True)
    os.rename(made, place)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, content: Content) -> None:
  import tensorflow_datasets as tfds

  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name=content.name,
      version=tfds.core.Version(content.version),
      data_dir=str(folder),
      module_name=__name__,
    ),
    description=content.description,
    features=tfds.features.FeaturesDict(dict(content.features)),
  )
  folder.mkdir(parents=True)
  writer = tfds.core.SequentialWriter(info, _SHARD, file_format="array_record")
  writer.initialize_splits(content.splits)
  examples_left = iter(content.examples)
  while chunk := list(itertools.islice(examples_left, _TOGETHER)):
    examples: dict[str, list] = {split: [] for split in content.splits}
    for split, example in chunk:
      examples[split].append(example)
    writer.add_examples(examples)
  writer.close_splits(content.splits)
  # Last, for the writer writes all it knows anew with each chunk.
  tfds.core.MetadataDict(content.metadata()).save_metadata(folder)
