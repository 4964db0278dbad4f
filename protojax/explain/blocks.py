"""Blocks: what evidence of any kind is made of, as plain data.

A method yields an `Explanation` of blocks where the classes of `evidence` and
`inspection` do not fit. `report.block_report` draws every block, and
`documents` writes it as JSON. Blocks hold no HTML, and no words but those that
their maker passes.
"""

from collections.abc import Mapping
import dataclasses
import re
from typing import NamedTuple

from jaxtyping import Float, Float32, UInt8
import numpy as np

from protojax.types import Box

# What an explanation is about: one image or example; a prototype or another
# part of the model over a whole split; the split as a whole.
SCOPES = ("local", "global", "overview")
LEVELS = ("note", "warning")
# Keys become parts of addresses and file names.
KEY = "^[A-Za-z0-9][A-Za-z0-9_-]*$"

Cell = str | int | float | bool | None


class Frame(NamedTuple):
  """A box in a picture, in pixels of that picture, with its label."""

  box: Box
  label: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture with boxes.

  Attributes:
    image: its pixels; the sides may differ.
    caption: the text below it.
    boxes: framed places.
    stretch: width over height at which a pixel is shown; see `shapes`.
  """

  image: UInt8[np.ndarray, "H W 3"]
  caption: str = ""
  boxes: tuple[Frame, ...] = ()
  stretch: float = 1.0


@dataclasses.dataclass(frozen=True)
class Map:
  """A number for each place of a picture.

  Attributes:
    values: nan where unknown.
    low: value at the lower end of the scale.
    high: value at its upper end; greater than `low`.
    caption: the text below it.
    unit: of the values.
    over: the picture that the map covers, if any.
  """

  values: Float32[np.ndarray, "h w"]
  low: float
  high: float
  caption: str = ""
  unit: str = ""
  over: Picture | None = None

  def __post_init__(self) -> None:
    if not self.low < self.high:
      raise ValueError(
        f"a map's scale goes from {self.low} to {self.high}; expected two"
        " numbers, the lower one first"
      )


@dataclasses.dataclass(frozen=True)
class Table:
  """Rows of cells.

  Attributes:
    columns: their names.
    rows: of as many cells as there are columns; None is an empty cell.
    caption: what the table is. Tables of one caption and the same columns
      become one CSV file.
  """

  columns: tuple[str, ...]
  rows: tuple[tuple[Cell, ...], ...]
  caption: str = ""

  def __post_init__(self) -> None:
    for row in self.rows:
      if len(row) != len(self.columns):
        raise ValueError(
          f"a row of {len(row)} cells in a table of {len(self.columns)} columns"
        )


class Axis(NamedTuple):
  """The name of an axis, and the unit of its numbers."""

  name: str
  unit: str = ""


class Series(NamedTuple):
  """One line of a curve: points from left to right; nan breaks the line."""

  name: str
  x: Float[np.ndarray, " n"]
  y: Float[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Curve:
  """Lines over one pair of axes.

  Attributes:
    series: the lines.
    x: the horizontal axis.
    y: the vertical axis.
    caption: the text below it.
  """

  series: tuple[Series, ...]
  x: Axis
  y: Axis
  caption: str = ""

  def __post_init__(self) -> None:
    for line in self.series:
      if line.x.shape != line.y.shape:
        raise ValueError(
          f"the line {line.name!r} has {len(line.x)} x and {len(line.y)} y"
        )


@dataclasses.dataclass(frozen=True)
class Matrix:
  """A number for each pair of a row and a column.

  Attributes:
    rows: names of the rows.
    columns: names of the columns.
    values: nan where unknown.
    caption: what the matrix is.
    unit: of the values.
  """

  rows: tuple[str, ...]
  columns: tuple[str, ...]
  values: Float[np.ndarray, "r c"]
  caption: str = ""
  unit: str = ""

  def __post_init__(self) -> None:
    expected = len(self.rows), len(self.columns)
    if self.values.shape != expected:
      raise ValueError(
        f"a matrix of shape {self.values.shape} with {expected[0]} names of"
        f" rows and {expected[1]} of columns"
      )


@dataclasses.dataclass(frozen=True)
class Gallery:
  """Pictures side by side, each with its own caption."""

  pictures: tuple[Picture, ...]
  caption: str = ""


@dataclasses.dataclass(frozen=True)
class Regions:
  """A picture whose regions have a text each, pointed at or read in a list.

  Attributes:
    picture: what the regions are of.
    numbers: the region of each place of the picture, from 0; nan: none.
    texts: of each region.
    caption: what the regions are.
  """

  picture: Picture
  numbers: Float[np.ndarray, "h w"]
  texts: tuple[str, ...]
  caption: str = ""

  def __post_init__(self) -> None:
    most = np.max(self.numbers, initial=-1, where=~np.isnan(self.numbers))
    if most >= len(self.texts):
      raise ValueError(f"region {most:g} has no text of {len(self.texts)}")


@dataclasses.dataclass(frozen=True)
class Sentence:
  """A paragraph of text."""

  text: str


@dataclasses.dataclass(frozen=True)
class Note:
  """A remark on what is shown: a "note" or a "warning"."""

  text: str
  level: str = "note"

  def __post_init__(self) -> None:
    _require("level", self.level, LEVELS)


Block = (
  Picture | Map | Table | Curve | Matrix | Gallery | Regions | Sentence | Note
)


@dataclasses.dataclass(frozen=True)
class Explanation:
  """Blocks about one subject, in the order to be read.

  Attributes:
    key: tells it from all others of a report; letters, digits, "-" and "_".
    title: its heading.
    scope: one of `SCOPES`.
    split: of the images; empty if it is of none.
    subject: name of what it is about: an image, a prototype; may be empty.
    group: what it is sorted under, such as its class; may be empty.
    blocks: the content.
  """

  key: str
  title: str
  scope: str
  split: str = ""
  subject: str = ""
  group: str = ""
  blocks: tuple[Block, ...] = ()

  def __post_init__(self) -> None:
    _require("scope", self.scope, SCOPES)
    if not re.fullmatch(KEY, self.key):
      raise ValueError(
        f"the key {self.key!r} of an explanation; expected letters, digits, -"
        " and _, a letter or digit first"
      )


def pairs(
  values: Mapping[str, Cell], names: tuple[str, str], caption: str = ""
) -> Table:
  """A table of two columns: the keys of a mapping, and their values."""
  return Table(names, tuple(values.items()), caption)


def _require(what: str, name: str, known: tuple[str, ...]) -> None:
  if name not in known:
    raise ValueError(f"{what} {name!r}; expected one of {', '.join(known)}")
