"""A folder of images with a CSV of multi-hot labels.

  root/labels.csv      image,dog,cat,car
  root/...             photos/1.jpg,1,0,-1

The first column is the path of an image, relative to the folder; each other
column is a label: 1 it is there, 0 it is not, -1 or nothing nobody knows. A
column "split" with train and test divides the images; without it, a seed does.
In place of labels.csv there may be train.csv and test.csv with the same labels.
"""

from collections.abc import Iterator, Sequence
import os
from typing import Any

from protojax import csv_files
from protojax.data import splits as splits_lib
from protojax.datasets import files, tagged_files
from protojax.datasets.tagged_files import Tagged, TaggedFiles
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
SEVERAL = True

_TABLE, _IMAGE, _SPLIT = "labels.csv", "image", "split"
_TAGS = {"1": 1, "0": 0, "-1": -1, "": -1}
_SHOWN = 3  # names in a message


def load(data: Any, split: str, seed: int) -> TaggedFiles:
  """Opens the training or test split of `data.root`.

  Args:
    data: `root`, `train`, `test` (names in the column or of the two tables) and
      `test_fraction`.
    split: "train" or "test".
    seed: divides the images, if nothing else does.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  root = os.path.expanduser(data.root)
  if not os.path.isdir(root):
    raise UserError(f"--config.data.root={data.root} is no folder")
  names = data.train, data.test
  tables = [f"{name}.csv" for name in names]
  if os.path.isfile(os.path.join(root, _TABLE)):
    labels, rows = _read(root, _TABLE)
    chosen = _divided(rows, split, names, data.test_fraction, seed)
    listed = [row.file for _, row in rows]
  elif all(os.path.isfile(os.path.join(root, table)) for table in tables):
    both = [_read(root, table) for table in tables]
    labels = _same(root, tables, [found for found, _ in both])
    chosen = _in_order(labels, *both[split == "test"])
    listed = [row.file for _, rows in both for _, row in rows]
  else:
    raise UserError(
      f"{root} has no {_TABLE}, nor {' and '.join(tables)}: write a line"
      f" {_IMAGE},<label>,<label> and below it one for each image"
    )
  source = tagged_files.opened(root, chosen, labels)
  beside = {os.path.relpath(path, root) for path in files.below(root)[0]}
  if unlisted := sorted(beside - set(listed)):
    tagged_files.note(
      f"{len(unlisted):,} images in {root} have no line in a table and are left"
      f" out, such as {', '.join(unlisted[:_SHOWN])}"
    )
  return source


def _read(
  root: str, file: str
) -> tuple[tuple[str, ...], list[tuple[str, Tagged]]]:
  """The labels of a table, and each of its images with its split or ''."""
  path = os.path.join(root, file)
  table = csv_files.read(path)
  columns = table.columns
  if not columns or columns[0] != _IMAGE:
    raise UserError(
      f"{path} begins with the column {columns[0] if columns else ''!r};"
      f" expected {_IMAGE!r}, then one column for each label"
    )
  labels = tuple(name for name in columns[1:] if name != _SPLIT)
  if not labels:
    raise UserError(f"{path} has no column of a label behind {_IMAGE!r}")
  rows = []
  for line, cells in table.rows:
    tags = tuple(_tag(path, line, label, cells) for label in labels)
    name = os.path.normpath(cells[_IMAGE])
    rows.append((cells.get(_SPLIT, ""), Tagged(name, tags)))
  if not rows:
    raise UserError(f"{path} lists no image")
  return labels, rows


def _tag(path: str, line: int, label: str, cells: dict[str, str]) -> int:
  cell = cells.get(label, "").strip()
  if cell not in _TAGS:
    raise UserError(
      f"{path}, line {line}: {label} is {cell!r:.40}; expected 1, 0, or -1 or"
      " nothing where nobody knows"
    )
  return _TAGS[cell]


def _divided(
  rows: Sequence[tuple[str, Tagged]],
  split: str,
  names: tuple[str, str],
  fraction: float,
  seed: int,
) -> list[Tagged]:
  """The images of a split, by its column or by a draw."""
  found = {name for name, _ in rows}
  wanted = names[split == "test"]
  if found != {""}:
    if unknown := sorted(found - set(names)):
      raise UserError(
        f"{_TABLE}: the column {_SPLIT!r} says {unknown[0]!r}; expected"
        f" {' or '.join(names)}"
      )
    return [row for name, row in rows if name == wanted]
  files_ = [row.file for _, row in rows]
  if len(set(files_)) < 2:
    raise UserError(f"{_TABLE} lists a single image; two splits need two")
  test = set(splits_lib.held_out(files_, fraction, seed))
  return [
    row for i, (_, row) in enumerate(rows) if (i in test) == (split == "test")
  ]


def _same(
  root: str, tables: Sequence[str], labels: Sequence[tuple[str, ...]]
) -> tuple[str, ...]:
  """The labels of both tables, in the order of the first."""
  first, second = map(set, labels)
  if first != second:
    only = [
      f"only {table} has {', '.join(sorted(own)[:_SHOWN])}"
      for table, own in zip(
        tables, (first - second, second - first), strict=True
      )
      if own
    ]
    raise UserError(
      f"the labels of {' and '.join(tables)} in {root} differ:"
      f" {'; '.join(only)}"
    )
  return labels[0]


def _in_order(
  labels: tuple[str, ...],
  own: tuple[str, ...],
  rows: Sequence[tuple[str, Tagged]],
) -> list[Tagged]:
  """The images of a table, with their labels in the order of another."""
  places = [own.index(label) for label in labels]
  return list(_reordered(rows, places))


def _reordered(
  rows: Sequence[tuple[str, Tagged]], places: Sequence[int]
) -> Iterator[Tagged]:
  for _, row in rows:
    yield Tagged(row.file, tuple(row.tags[place] for place in places))
