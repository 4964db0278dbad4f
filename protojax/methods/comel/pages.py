"""The page of maps that can be zoomed, made of the tiles of each bag."""

import base64
from collections.abc import Iterator
import io
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from markupsafe import Markup
import numpy as np
from PIL import Image

from protojax.methods.comel import mosaic
from protojax.methods.comel.explanation import Bag, bags
from protojax.report import page
from protojax.report.special_pages import Page
from protojax.types import State

_PACKAGE = "protojax.methods.comel"
# Bags on the page; tiles of a bag that are shown as they are; side of a tile.
_BAGS, _TILES, _SIDE = 8, 400, 64
# Bags with more instances have only these tiles, and no picture below them.
_DRAWN = 4096


def pages(method: Any, state: State, workdir: Path) -> Iterator[Page]:
  """One page, if the bags have pictures."""
  del workdir
  data = method.stream("test")
  names = method.dataset.class_names
  maps = [
    made
    for bag in bags(method, state, data, _BAGS)
    if (made := _map(bag, names)) is not None
  ]
  if not maps:
    return
  template = page.environment(_PACKAGE).get_template("zoom.html.jinja")
  yield Page(
    "maps",
    "Maps of bags",
    "Where the positive instances of some test bags lie: the redder, the more"
    " positive. Turn the wheel or press the buttons to come nearer, drag or"
    " press the arrow keys to move.",
    html=Markup(template.render(maps=maps, side=_SIDE)),
  )


def _map(bag: Bag, names: tuple[str, ...]) -> dict[str, Any] | None:
  """What the template shows of a bag; None without pictures."""
  p = bag.rows["instances"]
  cells = mosaic.cells(bag.given["places"])
  top = np.argsort(-p, kind="stable")[:_TILES].tolist()
  tiles = bag.shown(top)
  if tiles is None:
    return None
  columns, rows = (cells.max(axis=0) + 1).tolist()
  if len(bag) <= _DRAWN:
    picture = mosaic.picture(cells, bag.shown(range(len(bag))))
  else:
    picture = np.full((1, 1, 3), 255, np.uint8)
  chances = bag.rows["probabilities"]
  said = int(chances.argmax())
  return {
    "name": bag.name,
    "said": f"{names[said]}, {chances[said]:.0%}",
    "width": columns * _SIDE,
    "height": rows * _SIDE,
    "coarse": _address(picture),
    "tiles": [
      {**_place(cells[row]), "src": _address(_small(tile))}
      for row, tile in zip(top, tiles, strict=True)
    ],
    "cells": [
      {**_place(cells[row]), "p": f"{p[row]:.3f}", "row": row} for row in top
    ],
  }


def _place(cell: np.ndarray) -> dict[str, int]:
  column, row = cell.tolist()
  return {"x": column * _SIDE, "y": row * _SIDE}


def _small(tile: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s t 3"]:
  if len(tile) <= _SIDE:
    return tile
  size = (_SIDE, _SIDE)
  return np.asarray(Image.fromarray(tile).resize(size, Image.Resampling.BOX))


def _address(picture: UInt8[np.ndarray, "h w 3"]) -> str:
  """A picture as a data URI, so that the page needs no other file."""
  file = io.BytesIO()
  Image.fromarray(picture).save(file, "JPEG", quality=85)
  content = base64.b64encode(file.getvalue()).decode()
  return f"data:image/jpeg;base64,{content}"
