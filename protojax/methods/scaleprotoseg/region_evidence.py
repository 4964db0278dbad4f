"""Evidence of one image: where the answer is wrong, and why each region is so.

Blocks hold all of it, so that the report needs neither a mouse nor scripts:
each region is framed in a picture, and has rows in the tables below.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from protojax.explain import blocks, dense_pictures, in_blocks
from protojax.explain.request import Request
from protojax.methods.scaleprotoseg import regions as regions_lib
from protojax.methods.scaleprotoseg.network import Network
from protojax.methods.scaleprotoseg.regions import Regions
from protojax.methods.scaleprotoseg.units import Unit, units_of
from protojax.types import Picture, State

_MEMBERS = 3  # of a group, in the text of a region
# Regions of an image whose similarity is shown as a map.
_MAPS = 2


def image(
  network: Network,
  state: State,
  data: Any,
  request: Request,
  index: int,
  regions: Regions,
  row: Mapping[str, np.ndarray],
) -> blocks.Explanation:
  """The explanation of one image.

  Args:
    network: of the state.
    state: of the network.
    data: the stream of the images.
    request: what is asked for.
    index: of the image in its source.
    regions: of the image.
    row: of `regions.explained`.
  """
  example = data.examples([index])
  pixels = np.asarray(example["image"][0])
  truth = np.asarray(example["mask"][0]) if "mask" in example else None
  names, count = network.class_names, int((regions.classes >= 0).sum())
  said = [names[k] for k in regions.classes[:count]]
  drawn: list[blocks.Block] = [
    dense_pictures.pictures(pixels, row["classes"], truth, names),
    _regions(pixels, regions, names),
    _pointed_at(network, state, request, row, regions, pixels),
  ]
  drawn += dense_pictures.legend(row["classes"], truth, names)
  drawn += _because(request, row, regions, names, pixels)
  drawn += _maps(row["heat"][:count], said, pixels, request.rows_shown)
  drawn += _reasons(network, state, row, regions, request)
  return dense_pictures.explanation(
    request, data, index, row["classes"], truth, drawn
  )


def _regions(
  pixels: Picture, regions: Regions, names: Sequence[str]
) -> blocks.Gallery:
  """The regions, each without the rest of the image."""
  h, w = regions.cells.shape
  y, x = (
    np.arange(side) * count // side
    for side, count in zip(pixels.shape[:2], (h, w), strict=True)
  )
  cells = regions.cells[y][:, x]
  return blocks.Gallery(
    tuple(
      blocks.Picture(
        dense_pictures.alone(pixels, cells == n), f"Region {n + 1}: {names[k]}"
      )
      for n, k in enumerate(regions.classes)
      if k >= 0
    ),
    "The largest regions of one class, each without the rest of the image",
  )


def _pointed_at(
  network: Network,
  state: State,
  request: Request,
  row: Mapping[str, np.ndarray],
  regions: Regions,
  pixels: Picture,
) -> blocks.Block:
  """The regions with a sentence each: why a region is of its class."""
  names, units = network.class_names, units_of(network, state)
  grey = bool((pixels == pixels[..., :1]).all())
  texts = []
  for n, k in enumerate(regions.classes):
    if k < 0:
      continue
    share = float((regions.cells == n).mean())
    cause = in_blocks.cause(request.preset, row["delta"][:, n], grey)
    added = row["points"][n][: len(units[k])]
    unit, points = units[k][int(np.argmax(added))], float(np.max(added))
    because = (
      f"; {cause.changed} its similarity of"
      f" {float(row['similarity'][n]):.2f} loses {cause.loss:.2f}"
      if cause
      else ""
    )
    first = Unit(unit.name, unit.members[:_MEMBERS])
    rest = len(unit.members) - len(first.members)
    more = f" and {rest} more" if rest else ""
    members = f" ({first.text}{more})" if unit.members else ""
    texts.append(
      f"Region {n + 1}, {names[k]}, {share:.0%} of the image: most points,"
      f" {points:.1f}, come from {unit.name}{members}{because}."
    )
  numbers = np.where(regions.cells < 0, np.nan, regions.cells)
  return blocks.Regions(
    blocks.Picture(pixels, "Image"),
    numbers.astype(np.float64),
    tuple(texts),
    "Point at a region or its line, or tap it, for the reason of its class",
  )


def _because(
  request: Request,
  row: Mapping[str, np.ndarray],
  regions: Regions,
  names: Sequence[str],
  pixels: Picture,
) -> Iterator[blocks.Block]:
  """Of each region: its size, its similarity, and because of what."""
  grey = bool((pixels == pixels[..., :1]).all())
  had = request.preset.seen(grey)
  rows = tuple(
    (
      n + 1,
      names[k],
      float((regions.cells == n).mean()),
      float(row["similarity"][n]),
      *(
        float(x) if there else None
        for x, there in zip(row["delta"][:, n], had, strict=True)
      ),
    )
    for n, k in enumerate(regions.classes)
    if k >= 0
  )
  columns = ("region", "class", "share of the image", "similarity")
  yield blocks.Table(
    (*columns, *request.preset.names),
    rows,
    "Regions, and because of what they are similar to their class",
  )
  if grey:
    yield blocks.Note(
      "Grey images have neither hue nor saturation, which are left out."
    )


def _maps(
  heat: np.ndarray, said: Sequence[str], pixels: Picture, most: int
) -> Iterator[blocks.Block]:
  for n, name in enumerate(said[: min(_MAPS, most)]):
    values = np.asarray(heat[n], np.float32)
    high = max(float(values.max()), 1e-9)
    yield blocks.Map(
      values,
      0.0,
      high,
      f"Region {n + 1}: similarity of each place to {name}",
      "log similarity",
      blocks.Picture(pixels),
    )


def _reasons(
  network: Network,
  state: State,
  row: Mapping[str, np.ndarray],
  regions: Regions,
  request: Request,
) -> Iterator[blocks.Block]:
  """What each prototype or group of its class adds to a region's logit."""
  units = units_of(network, state)
  rows = []
  for n, k in enumerate(regions.classes):
    if k < 0:
      continue
    added = row["points"][n]
    order = np.argsort(-added[: len(units[k])], kind="stable")
    for e in order[: request.top]:
      unit = units[k][e]
      if unit.members:
        name = network.class_names[k]
        rows.append((n + 1, name, unit.name, float(added[e]), unit.text))
    rows.append(
      (
        n + 1,
        network.class_names[k],
        "other classes",
        float(row["others"][n]),
        "",
      )
    )
  yield blocks.Table(
    ("region", "class", "from", "points", "made of"),
    tuple(rows),
    "Points of each region: their sum is its mean logit",
  )


def patch(
  pixels: Picture, cell: int, network: Network, caption: str, stretch: float
) -> blocks.Picture:
  """An image with the box of one cell framed."""
  rows, columns = network.grid
  size = len(pixels)
  cells = np.arange(rows * columns).reshape(rows, columns)
  marked = Regions(np.where(cells == cell, 0, -1), np.zeros(1, np.int32))
  frame = blocks.Frame(regions_lib.box(marked, 0, size))
  return blocks.Picture(pixels, caption, (frame,), stretch)
