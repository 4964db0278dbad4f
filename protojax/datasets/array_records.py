"""Writes TFDS data sets as ArrayRecord without TensorFlow, whole or not at all.

Examples hold encoded images: TensorFlow would be needed to encode pixels.
`photo_records` and `anomaly_records` write through it, and
`tfds.builder_from_directory` reads the result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import itertools
import os
from pathlib import Path
from typing import Any

from protojax import writing
from protojax.types import UserError

_SHARD = 1000  # examples in a file
_TOGETHER = 64  # examples written at a time


@dataclasses.dataclass(frozen=True)
class Content:
  """A data set to write.

  Attributes:
    name: of the data set, and of its folder below the output.
    version: of its format.
    description: in a sentence.
    features: name -> connector of `tfds.features`.
    splits: their names.
    examples: (split, features) of each example; iterated once, while writing.
    metadata: called after the last example; its result is stored beside them.
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
  """A data set that was written.

  Attributes:
    counts: images by split.
    skipped: (name, reason) of the images that are left out.
    overlap: (name, name) of files in two splits that have the same MD5.
  """

  counts: Mapping[str, int]
  skipped: tuple[tuple[str, str], ...]
  overlap: tuple[tuple[str, str], ...] = ()


def home(output: str | Path, name: str, version: str) -> Path:
  """Folder of a data set below the folder of the output."""
  return Path(output) / name / version


def require_room(output: str, name: str, version: str) -> None:
  """Raises UserError if there is such a data set already."""
  folder = home(output, name, version)
  if folder.exists():
    raise UserError(
      f"{folder} is there already: remove it or take another --output"
    )


def write(output: str, content: Content) -> None:
  """Writes a data set to a temporary folder, then moves it to its place.

  Raises:
    UserError: the output cannot be written, or has the data set already.
  """
  require_room(output, content.name, content.version)
  try:
    _write_and_move(Path(output), content)
  # The library that writes records has its own error for a full disk.
  except (OSError, RuntimeError) as e:
    raise UserError(
      f"cannot write to {output}: {writing.reason(e)}. Make room or take"
      " another --output; nothing was left there"
    ) from e


def _write_and_move(output: Path, content: Content) -> None:
  with writing.temporary_folder(output / content.name) as temporary:
    made = home(temporary, content.name, content.version)
    _write(made, content)
    place = home(output, content.name, content.version)
    place.parent.mkdir(exist_ok=True)
    os.rename(made, place)


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
  # Last: with each chunk the writer writes its own metadata again.
  tfds.core.MetadataDict(content.metadata()).save_metadata(folder)
