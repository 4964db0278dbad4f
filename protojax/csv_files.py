"""Writes CSV files, and reads those of others.

A spreadsheet runs a cell that begins with "=", "+", "-" or "@", and names of
files and classes come from others. An apostrophe before such a text makes it
one (OWASP, CSV Injection). Numbers stay as they are.
"""

from collections.abc import Iterable
import csv
import io
from pathlib import Path
import re
from typing import Any, NamedTuple

from protojax import text_files
from protojax.errors import UserError

# Spreadsheets skip tabs and line breaks before a formula; the last four are the
# signs of East Asian keyboards.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(
  r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|nan)", re.IGNORECASE
)


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
    names = tuple(map(original, next(lines, ())))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
      raise UserError(f"{path} has the column {twice[0]!r} twice")
    rows = tuple(
      (lines.line_num, dict(zip(names, map(original, row), strict=False)))
      for row in lines
    )
  except csv.Error as error:
    raise UserError(f"{path}, line {lines.line_num}: {error}") from error
  return Table(names, tuple(row for row in rows if row[1]))


class Writer:
  """Writes rows of CSV."""

  def __init__(self, file: Any, lineterminator: str = "\r\n") -> None:
    self._writer = csv.writer(file, lineterminator=lineterminator)

  def row(self, cells: Iterable[Any]) -> None:
    """Writes a row; texts among its cells are no formulas."""
    self._writer.writerow(
      text(cell) if isinstance(cell, str) else cell for cell in cells
    )

  def rows(self, rows: Iterable[Iterable[Any]]) -> None:
    """Writes several rows."""
    for row in rows:
      self.row(row)


def text(cell: str) -> str:
  """The cell to write for a text."""
  formula = _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
  return f"'{cell}" if formula else cell


def original(cell: str) -> str:
  """The text behind a cell that `text` gave."""
  quoted = cell.startswith("'") and _FORMULA.match(cell)
  return cell[1:] if quoted else cell
