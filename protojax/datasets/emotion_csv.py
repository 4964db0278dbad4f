"""Faces listed in a CSV file, such as CK+ or AffectNet-mini.

`DIR/<split>.csv` has a column of paths and one of names or of numbers, under
any of the names below. Numbers are those of `DIR/class_map_fer.json` or of the
file that --config.data.class_map names. Paths are absolute, or relative to the
file or to DIR. A path that leads nowhere ends the run: in the paper's own
evaluation such rows silently disappeared.
"""

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

import numpy as np

from protojax import csv_files
from protojax.datasets import emotions, image_check
from protojax.datasets.files import Files
from protojax.types import UserError

FOLDERS = True
PATHS = ("image_path", "path", "img", "file", "filepath", "filename")
NAMES = ("label_name", "class_name", "label_str")
NUMBERS = ("label_id", "label", "cls", "class", "target", "y")
_MAP = "class_map_fer.json"


def load(data: Any, split: str, seed: int) -> Files:
  """Opens `DIR/<split>.csv` for the split that a config names.

  Raises:
    UserError: a column is missing, a label is unknown, or a path leads nowhere.
  """
  del seed
  if not data.root:
    raise UserError(
      "no folder of faces given: set --config.data.root=DIR, with"
      f" {data[split]}.csv in it"
    )
  root, name = Path(data.root).expanduser(), data[split]
  path = root / (name if name.endswith(".csv") else f"{name}.csv")
  table = csv_files.read(path)
  if not table.rows:
    raise UserError(f"{path} has no row; expected one for each image")
  listed = _values(path, table, _column(path, table.columns, PATHS))
  found = [_resolved(file, path, root) for file in listed]
  _require_there(path, listed, found)
  labels = _labels(path, table, _map(data, root))
  names = [str(file) for file in found]
  bad = image_check.unreadable(str(root), tuple(names))
  kept = [i for i, file in enumerate(names) if file not in bad]
  if not kept:
    raise UserError(f"none of the {len(names)} images of {path} can be read")
  return Files(
    str(root),
    tuple(names[i] for i in kept),
    np.array([labels[i] for i in kept], np.int32),
    emotions.NAMES,
    tuple(bad.items()),
  )


def _map(data: Any, root: Path) -> Mapping[int, int]:
  own = root / _MAP
  given = data.get("class_map", "")
  return emotions.class_map(given or (str(own) if own.exists() else ""))


def _column(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> str:
  """The first of some columns that a table has."""
  for name in wanted:
    if name in columns:
      return name
  raise UserError(
    f"{path} has the columns {', '.join(columns)}; expected one of"
    f" {', '.join(wanted)}"
  )


def _values(path: Path, table: csv_files.Table, column: str) -> list[str]:
  """The cells of a column; none may be empty."""
  for line, row in table.rows:
    if not row.get(column, "").strip():
      raise UserError(f"{path}, line {line}: {column} is empty")
  return [row[column].strip() for _, row in table.rows]


def _labels(
  path: Path, table: csv_files.Table, numbers: Mapping[int, int]
) -> list[int]:
  """The number of each row's emotion."""
  named = next((name for name in NAMES if name in table.columns), None)
  column = named or _column(path, table.columns, (*NUMBERS, *NAMES))
  found = []
  for cell, (line, _) in zip(
    _values(path, table, column), table.rows, strict=True
  ):
    where = f"{path}, line {line}"
    if named:
      found.append(emotions.index(cell, where))
      continue
    if not cell.isdecimal():
      raise UserError(
        f"{where}: {column} is {cell!r}, which is no number; call a column of"
        f" names {NAMES[0]}"
      )
    found.append(emotions.by_map(int(cell), numbers, where))
  return found


def _resolved(name: str, path: Path, root: Path) -> Path | None:
  for place in (Path(name), path.parent / name, root / name):
    if (place.is_absolute() or place != Path(name)) and os.path.isfile(place):
      return place
  return None


def _require_there(
  path: Path, names: Sequence[str], found: Sequence[Path | None]
) -> None:
  lost = [name for name, place in zip(names, found, strict=True) if not place]
  if lost:
    raise UserError(
      f"{len(lost)} of {len(names)} paths in {path} lead nowhere, such as"
      f" {lost[0]!r}: put the images below {path.parent}, or mend the paths"
    )
