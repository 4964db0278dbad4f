"""Tables of losses on a page: a characteristic with its direction in words.

Files have a column, or a row, for each side of a characteristic that is changed
in two directions, and one for the characteristic, the larger of both. A page
has the characteristic alone, and names the side: "0.31, grain".
"""

from collections.abc import Mapping, Sequence
import math

from protojax.explain.blocks import Cell
from protojax.modify import sides
from protojax.modify.presets import SIDES
from protojax.report.block_text import cell


def columns(names: Sequence[str]) -> list[int]:
  """Places of the columns, or rows, that a page has: all but the sides."""
  return [i for i, name in enumerate(names) if not _is_side(name, names)]


def texts(names: Sequence[str], values: Sequence[Cell]) -> list[str]:
  """The cells that a page has, of a row or a column of losses, as text.

  Args:
    names: of all of them.
    values: as many.
  """
  losses = {
    name: float(value)
    for name, value in zip(names, values, strict=True)
    # A whole number, such as one of images, is no loss.
    if isinstance(value, float) and not math.isnan(value)
  }
  return [_text(losses, names[i], values[i]) for i in columns(names)]


def of_table(
  names: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> tuple[list[int], list[list[str]]]:
  """Places of the columns that a page has, and its cells as text.

  Args:
    names: of all columns.
    rows: of as many cells.
  """
  for named in range(len(names)):
    down = [str(row[named]) for row in rows]
    unique = len(set(down)) == len(down)
    if unique and len(columns(down)) < len(down):
      by_column = [texts(down, column) for column in zip(*rows, strict=True)]
      return list(range(len(names))), [
        list(row) for row in zip(*by_column, strict=True)
      ]
  return columns(names), [texts(names, row) for row in rows]


def _text(losses: Mapping[str, float], name: str, value: Cell) -> str:
  loses = name in losses and losses[name] > 0
  if loses and sides.told(losses, name):
    return f"{cell(value)}, {sides.had(losses, name)}"
  return cell(value)


def _is_side(name: str, names: Sequence[str]) -> bool:
  return SIDES.get(name) in names
