"""Prepares Community Forensics: Parquet files -> folders of generators.

Park and Owens, "Community Forensics: Using Thousands of Generators to Train
Fake Image Detectors", CVPR 2025. The data sets (-Small, -Eval and the whole)
are Parquet files of the same columns; read here are

  image_data   content of an image file
  format       "PNG", "JPEG", ...
  label        0 real, 1 generated
  model_name   the generator
  real_source  where a real image is from
  split        "train", "test"

Written is what `generators` reads: SPLIT/<generator>/fake/* and, once for all
generators, SPLIT/photographs/<source>/*. Images are stored unchanged. An image
that is there already is passed over, so that the same command goes on where it
was stopped.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
import importlib
from pathlib import Path
import re
from typing import Any

from protojax import writing
from protojax.datasets import array_records, walk
from protojax.types import UserError

PREPARES = "Community Forensics' Parquet files, as folders of generators"
WRITES = "generators"
TRAINS = "gapl_folder --config.data.real=photographs"
_REAL = "photographs"
_COLUMNS = (
  *("image_data", "format", "label", "model_name", "real_source"),
  "split",
)
_FORMATS = {"PNG": "png", "JPEG": "jpg", "JPG": "jpg", "WEBP": "webp"}
# Rows that are read at once: an image may have some megabytes.
_ROWS = 64


def prepare(
  source: str,
  output: str,
  begin: Callable[[int], Any],
  advance: Callable[[], Any],
) -> array_records.Outcome:
  """Writes the images of all Parquet files of a folder.

  Args:
    source: a folder of *.parquet, at any depth, or one such file.
    output: the folder to write to; made if it is not there.
    begin: called with the number of images.
    advance: called after each image.

  Raises:
    UserError: there is no Parquet file, it has other columns or cannot be read,
      pyarrow is not installed, or the output cannot be written.
  """
  files = _opened(Path(source))
  begin(sum(file.metadata.num_rows for _, file in files))
  counts: Counter[str] = Counter()
  skipped = []
  for path, file in files:
    for number, row in enumerate(_rows(path, file)):
      name = f"{path.stem}-{number:06d}"
      try:
        place = _place(row) / f"{name}.{_suffix(row)}"
      except ValueError as error:
        skipped.append((f"{path}, row {number}", str(error)))
      else:
        target = Path(output) / place
        if not target.exists():
          with writing.replacing(target, "wb") as image:
            image.write(row["image_data"])
        counts[place.parts[0]] += 1
      advance()
  return array_records.Outcome(counts, tuple(skipped))


def _opened(source: Path) -> list[tuple[Path, Any]]:
  """The Parquet files, whose columns are known.

  Raises:
    UserError: see `prepare`.
  """
  try:
    parquet = importlib.import_module("pyarrow.parquet")
  except ModuleNotFoundError as error:
    raise UserError(
      "Parquet files need the package pyarrow: python -m pip install pyarrow"
    ) from error
  paths = [source]
  if source.is_dir():
    below = sorted(map(Path, walk.walk(str(source)).files))
    paths = [p for p in below if p.suffix == ".parquet"]
  if not paths:
    raise UserError(f"--source={source} holds no *.parquet file")
  found = []
  for path in paths:
    try:
      file = parquet.ParquetFile(path)
    # pyarrow's errors of content are ValueErrors; OSError is Python's.
    except (ValueError, OSError) as error:
      raise UserError(f"{path} is no Parquet file: {error!s:.200}") from error
    known = file.schema_arrow.names
    if missing := [name for name in _COLUMNS if name not in known]:
      raise UserError(
        f"{path} has no column {missing[0]!r}; Community Forensics has"
        f" {', '.join(_COLUMNS)}, and this file {', '.join(known):.200}"
      )
    found.append((path, file))
  return found


def _rows(path: Path, file: Any) -> Iterator[Mapping[str, Any]]:
  """The rows, a few in memory at a time."""
  try:
    for batch in file.iter_batches(_ROWS, columns=list(_COLUMNS)):
      yield from batch.to_pylist()
  except (ValueError, OSError) as error:
    raise UserError(f"{path} cannot be read: {error!s:.200}") from error


def _place(row: Mapping[str, Any]) -> Path:
  """The folder of an image.

  Raises:
    ValueError: the row says not what the image is.
  """
  if row["label"] not in (0, 1):
    raise ValueError(f"its label is {row['label']!r}; expected 0 or 1")
  split = _name(row["split"] or "train", "split").lower()
  if row["label"]:
    return Path(split, _name(row["model_name"], "model_name"), "fake")
  source = row["real_source"] or row["model_name"]
  return Path(split, _REAL, _name(source, "real_source"))


def _name(text: Any, column: str) -> str:
  """The name of a folder that is not hidden: "org/a v1" -> "org--a_v1".

  Raises:
    ValueError: nothing is left of it.
  """
  flat = str(text or "").replace("/", "--")
  found = re.sub(r"[^\w.-]+", "_", flat).lstrip(".")
  if not found:
    raise ValueError(f"its {column} is {text!r}")
  return found


def _suffix(row: Mapping[str, Any]) -> str:
  """The suffix of an image's file.

  Raises:
    ValueError: there is no image, or of a format that is not read.
  """
  known = str(row["format"] or "").upper()
  if known not in _FORMATS:
    raise ValueError(
      f"its format is {row['format']!r}; expected {', '.join(_FORMATS)}"
    )
  if not row["image_data"]:
    raise ValueError("it has no image")
  return _FORMATS[known]
