"""Reads CSV files of others."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from protojax import text_files
from protojax.types import UserError


class Table(NamedTuple):
  """A file whose first line names the columns.

  Attributes:
    columns: their names, no two alike.
    rows: number of the line, and values by column; a row that is too short
      lacks its last columns.
  """

  columns: tuple[str, ...]
  rows: tuple[tuple[int, dict[str, str]], ...]


def read(path: str | Path) -> Table:
  """The rows of a file.

  Args:
    path: of a regular file in UTF-8.

  Raises:
    UserError: the file cannot be read, is not CSV, or has a column twice.
  """
  lines = csv.reader(io.StringIO(text_files.read(path), ""), strict=True)
  try:
    names = tuple(next(lines, ()))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
      raise UserError(f"{path} has the column {twice[0]!r} twice")
    rows = tuple(
      (lines.line_num, dict(zip(names, row, strict=False))) for row in lines
    )
  except csv.Error as error:
    raise UserError(f"{path}, line {lines.line_num}: {error}") from error
  return Table(names, tuple(row for row in rows if row[1]))
