"""Opens folders of TFDS data sets without trusting them.

TFDS imports the module of every class that a features.json names, wherever the
module lies, and its parsers raise what they like. Files are therefore checked
before TFDS sees them, and what it raises becomes one line.
"""

from collections.abc import Iterator, Mapping
import contextlib
import os
from pathlib import Path
import re
import stat
from typing import Any

from protojax import json_files, text_files
from protojax.shown import shown
from protojax.types import UserError
from protojax.writing import first_line

# What releases of TFDS write; all of it is imported with TFDS.
_OWN = re.compile(r"tensorflow_datasets\.core\.features(\.\w+)+", re.ASCII)
# Keys whose text is the name of a class, in either form of protocol buffers and
# in files of before 2021; and keys whose text is JSON with such keys in it.
_NAMING = ("pythonClassName", "python_class_name", "type")
_NESTING = ("json", "content")
# Names of files, with places such as {SPLIT} to be filled in.
_TEMPLATE = re.compile(r"([\w.-]|\{[A-Z_]+\})*", re.ASCII)
_WAY_OUT = "prepare the data set again, or get it again"
# Name/configuration/version/file.
_DEEPEST = 3


def opened(folder: str | Path) -> Any:
  """The TFDS builder of a data set.

  Args:
    folder: of one version; it holds a features.json.

  Raises:
    UserError: a file in it is damaged, or names a class that is not TFDS's.
  """
  import tensorflow_datasets as tfds

  require_safe(Path(folder))
  with reading(folder):
    return tfds.builder_from_directory(str(folder))


def require_safe_below(folder: Path) -> None:
  """`require_safe` for every version of a data set below a folder."""
  for path, folders, names in os.walk(folder):
    if "features.json" in names or "dataset_info.json" in names:
      require_safe(Path(path))
    if len(Path(path).relative_to(folder).parts) >= _DEEPEST:
      folders.clear()


def require_safe(folder: Path) -> None:
  """Checks what TFDS reads when it opens a data set.

  Raises:
    UserError: a file is damaged or no regular file, or names a class that is
      not TFDS's.
  """
  with reading(folder):
    modes = {entry.path: entry.stat().st_mode for entry in os.scandir(folder)}
  for path, mode in modes.items():
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
      raise UserError(f"{path} is no regular file: {_WAY_OUT}")
  features, facts, more = (
    folder / name
    for name in ("features.json", "dataset_info.json", "metadata.json")
  )
  # TFDS takes numbers for names where it cannot read them.
  for path in folder.glob("*.labels.txt"):
    text_files.read(path)
  if os.path.lexists(features):
    _require_own(features, _content(features))
  if os.path.lexists(facts):
    content = _content(facts)
    _require_own(facts, content.get("features"))
    for key, value in _pairs(content.get("splits")):
      if key in ("filepathTemplate", "filepath_template"):
        _require_inside(facts, value)
  if os.path.lexists(more):
    _content(more)


@contextlib.contextmanager
def reading(folder: str | os.PathLike) -> Iterator[None]:
  """For code in which TFDS opens a data set.

  Raises:
    UserError: in place of what its parsers raise.
  """
  try:
    yield
  except UserError:
    raise
  # Parsers of JSON, of protocol buffers and of records each have their own.
  except Exception as error:
    raise UserError(
      f"{folder} cannot be opened by TFDS ({type(error).__name__}:"
      f" {first_line(error)}): {_WAY_OUT}"
    ) from error


class Checked:
  """Records of a split by index, read from files that may be damaged.

  Args:
    builder: from `opened`, or of TFDS.
    split: for TFDS, such as "train[:80%]".
    decoders: for TFDS.
    needed: name of a feature -> what its values are.
  """

  def __init__(
    self,
    builder: Any,
    split: str,
    decoders: Mapping[str, Any],
    needed: Mapping[str, type | tuple[type, ...]],
  ) -> None:
    with reading(builder.data_path):
      self._records = builder.as_data_source(split, decoders=decoders)
      self._files = builder.info.splits[split].file_instructions
      self._count = len(self._records)
    self._needed = needed

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, i: int) -> dict[str, Any]:
    if not 0 <= i < self._count:
      raise IndexError(i)
    try:
      record = self._records[i]
    # The library has errors of its own for each kind of damage.
    except Exception as error:
      raise self._damaged(i, first_line(error)) from error
    for name, kind in self._needed.items():
      # A record that was cut off may come back empty.
      if not isinstance(record.get(name), kind):
        raise self._damaged(i, f"it has no {name}")
    return record

  def _damaged(self, i: int, why: str) -> UserError:
    first = 0
    for file in self._files:
      if i < first + file.take:
        name, number = file.filename, file.skip + i - first
        return UserError(
          f"{name} is damaged at record {number} ({why}): {_WAY_OUT}"
        )
      first += file.take
    return UserError(f"record {i} is damaged ({why}): {_WAY_OUT}")


def _content(path: Path) -> dict[str, Any]:
  return json_files.read_json(path, dict[str, Any], _WAY_OUT)


def _require_own(path: Path, content: Any) -> None:
  for key, value in _pairs(content):
    if not isinstance(value, str):
      continue
    if key in _NAMING and not _OWN.fullmatch(value):
      raise UserError(
        f"{path} names the class {shown(value)}, whose module would be run;"
        " expected a feature of TFDS (tensorflow_datasets.core.features):"
        " remove that feature, or get the data set from a place you trust"
      )
    if key in _NESTING:
      try:
        nested = json_files.parsed(value, Any)
      except UserError as error:
        raise UserError(f"{path}: {key} {error}: {_WAY_OUT}") from error
      _require_own(path, nested)


def _require_inside(path: Path, template: Any) -> None:
  if not isinstance(template, str) or not _TEMPLATE.fullmatch(template):
    raise UserError(
      f"{path} names files by {shown(template)}; expected files of the same"
      f" folder: {_WAY_OUT}"
    )


def _pairs(content: Any) -> Iterator[tuple[str, Any]]:
  """All keys with their values, at whatever depth."""
  if isinstance(content, dict):
    yield from content.items()
    for value in content.values():
      yield from _pairs(value)
  elif isinstance(content, list):
    for value in content:
      yield from _pairs(value)
