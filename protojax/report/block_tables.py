"""Tables of blocks as CSV: one file for all tables of one caption.

The rows of `tables/CAPTION.csv` begin with the key, the split and the subject
of their explanation. Matrices and curves become tables, too.
"""

from collections.abc import Callable
import contextlib
import math
from pathlib import Path
import re

from protojax.csv_files import Writer
from protojax.explain import blocks
from protojax.explain.blocks import Explanation, Table
from protojax.report import explanation_tables
from protojax.writing import replacing

_LONGEST = 60


class BlockTables:
  """CSV files that grow as explanations come.

  Attributes:
    folder: of the files.
    paths: of the files so far.
  """

  def __init__(self, folder: Path, files: contextlib.ExitStack) -> None:
    """Opens no file yet.

    Args:
      folder: of the files.
      files: closes them.
    """
    self.folder = folder
    self.paths: list[Path] = []
    self._files = files
    self._add: dict[tuple[str, tuple[str, ...]], Callable] = {}

  def add(self, explained: Explanation) -> None:
    """Adds the rows of all tables of an explanation.

    Raises:
      UserError: there is no room, or no right to write.
    """
    where = explained.key, explained.split, explained.subject
    for block in explained.blocks:
      found = as_table(block)
      if found is not None:
        add = self._table(found.caption, found.columns)
        for row in found.rows:
          add((*where, *map(_written, row)))

  def _table(self, caption: str, columns: tuple[str, ...]) -> Callable:
    """Adds a row to the table of that caption and these columns."""
    if (caption, columns) not in self._add:
      path = self.folder / f"{self._name(caption)}.csv"
      writer = Writer(self._files.enter_context(replacing(path)))
      writer.row(("key", "split", "subject", *columns))
      self.paths.append(path)
      self._add[caption, columns] = writer.row
    return self._add[caption, columns]

  def _name(self, caption: str) -> str:
    """A name for a new file."""
    name = re.sub(r"[^a-z0-9]+", "-", caption.lower()).strip("-")[:_LONGEST]
    name, taken = name or "table", {path.stem for path in self.paths}
    numbered = (f"{name}-{n}" if n else name for n in (0, *range(2, 10**6)))
    return next(found for found in numbered if found not in taken)


def as_table(block: blocks.Block) -> Table | None:
  """The numbers of a block as a table; None if it has none to tabulate."""
  if isinstance(block, Table):
    return block
  if isinstance(block, blocks.Matrix):
    rows = zip(block.rows, block.values.tolist(), strict=True)
    return Table(
      ("row", *block.columns),
      tuple((name, *values) for name, values in rows),
      block.caption,
    )
  if isinstance(block, blocks.Curve):
    return Table(
      ("series", block.x.name, block.y.name),
      tuple(
        (line.name, x, y)
        for line in block.series
        for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True)
      ),
      block.caption,
    )
  return None


def _written(value: blocks.Cell) -> str:
  """A cell as text; empty where unknown."""
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ""
  if isinstance(value, bool):
    return str(int(value))
  return value if isinstance(value, str) else explanation_tables.number(value)
