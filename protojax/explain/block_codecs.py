"""Codecs of blocks, and the keys of an `Explanation`."""

from typing import Any

from protojax.explain import blocks, codecs
from protojax.explain.binary_codecs import GRID, PNG
from protojax.explain.codecs import (
  CELL,
  NUMBER,
  TEXT,
  WHOLE,
  Codec,
  described,
  many,
  numbers,
  optional,
  record,
  row,
)
from protojax.types import Box

BOX = row(Box, WHOLE, 4)


def _block(kind: str, make: Any, keys: dict[str, Codec]) -> tuple[str, Codec]:
  return kind, record(make, kind, keys, {"kind": kind})


_FRAME = record(blocks.Frame, "frame", {"box": BOX, "label": TEXT})
_PICTURE = _block(
  "picture",
  blocks.Picture,
  {"image": PNG, "caption": TEXT, "boxes": many(_FRAME)},
)
_AXIS = record(blocks.Axis, "axis", {"name": TEXT, "unit": TEXT})
_SERIES = record(
  blocks.Series, "series", {"name": TEXT, "x": numbers(1), "y": numbers(1)}
)


def _matrix(**found: Any) -> blocks.Matrix:
  values = found.pop("values")
  if not values.size:
    values = values.reshape(len(found["rows"]), len(found["columns"]))
  return blocks.Matrix(values=values, **found)


_BLOCKS = codecs.kinds(
  {
    blocks.Picture: _PICTURE,
    blocks.Map: _block(
      "map",
      blocks.Map,
      {
        "values": GRID,
        "low": described(NUMBER, "value at the lower end of the scale"),
        "high": NUMBER,
        "caption": TEXT,
        "unit": TEXT,
        "over": optional(_PICTURE[1]),
      },
    ),
    blocks.Table: _block(
      "table",
      blocks.Table,
      {"columns": many(TEXT), "rows": many(many(CELL)), "caption": TEXT},
    ),
    blocks.Curve: _block(
      "curve",
      blocks.Curve,
      {"series": many(_SERIES), "x": _AXIS, "y": _AXIS, "caption": TEXT},
    ),
    blocks.Matrix: _block(
      "matrix",
      _matrix,
      {
        "rows": many(TEXT),
        "columns": many(TEXT),
        "values": numbers(2),
        "caption": TEXT,
        "unit": TEXT,
      },
    ),
    blocks.Gallery: _block(
      "gallery",
      blocks.Gallery,
      {"pictures": many(_PICTURE[1]), "caption": TEXT},
    ),
    blocks.Regions: _block(
      "regions",
      blocks.Regions,
      {
        "picture": _PICTURE[1],
        "numbers": described(
          numbers(2), "the region of each place, from 0; null: none"
        ),
        "texts": many(TEXT),
        "caption": TEXT,
      },
    ),
    blocks.Sentence: _block("sentence", blocks.Sentence, {"text": TEXT}),
    blocks.Note: _block(
      "note",
      blocks.Note,
      {"text": TEXT, "level": codecs.one_of(*blocks.LEVELS)},
    ),
  }
)
EXPLANATION = {
  "key": codecs.matching(blocks.KEY),
  "title": TEXT,
  "scope": codecs.one_of(*blocks.SCOPES),
  "split": TEXT,
  "subject": TEXT,
  "group": TEXT,
  "blocks": many(_BLOCKS),
}
