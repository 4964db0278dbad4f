"""Evidence of one image: its classes, and its likeness to their prototypes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from protojax.explain import blocks, dense_pictures, in_blocks
from protojax.explain.in_blocks import MeanLosses
from protojax.explain.request import Request
from protojax.methods.tcsa_uda.network import Network
from protojax.types import Box, Picture

# Classes of an image whose cosines are drawn, the largest first.
_MAPS = 6


def image(
  network: Network,
  data: Any,
  request: Request,
  index: int,
  row: Mapping[str, Any],
) -> blocks.Explanation:
  """The explanation of one image.

  Args:
    network: of the state.
    data: the stream of the images.
    request: what is asked for.
    index: of the image in its source.
    row: of `explanation.explained`.
  """
  example = data.examples([index])
  pixels = np.asarray(example["image"][0])
  truth = np.asarray(example["mask"][0]) if "mask" in example else None
  names = network.class_names
  drawn: list[blocks.Block] = [
    dense_pictures.pictures(pixels, row["classes"], truth, names)
  ]
  drawn += dense_pictures.legend(row["classes"], truth, names)
  drawn += _maps(network, row, pixels)
  drawn += _because(network, request, row)
  return dense_pictures.explanation(
    request, data, index, row["classes"], truth, drawn
  )


def answered(row: Mapping[str, Any], count: int) -> list[int]:
  """Classes that cells are answered, the largest first."""
  sizes = np.bincount(row["cells"].ravel(), minlength=count)
  return [int(k) for k in np.argsort(-sizes, kind="stable") if sizes[k]]


def _maps(
  network: Network, row: Mapping[str, Any], pixels: Picture
) -> Iterator[blocks.Block]:
  """Cosine of each cell to the prototypes of the classes answered."""
  names = network.class_names
  yield blocks.Sentence(
    "How near each cell is to the prototype of a class, as the cosine of both;"
    f" for {row['agrees']:.0%} of the cells the nearest prototype is of the"
    " class that is answered. Prototypes take no part in the answer."
  )
  for k in answered(row, len(names))[:_MAPS]:
    box = cell(network, int(row["place"][k]))
    yield blocks.Map(
      np.asarray(row["cosines"][..., k], np.float32),
      -1.0,
      1.0,
      f"Likeness to {names[k]}; the frame is the nearest cell",
      over=blocks.Picture(pixels, names[k], (blocks.Frame(box),)),
    )


def _because(
  network: Network, request: Request, row: Mapping[str, Any]
) -> Iterator[blocks.Block]:
  """Of each class answered: its nearest cell, and because of what."""
  grey, names = bool(row["grey"]), network.class_names
  had = request.preset.seen(grey)
  rows = tuple(
    (
      names[k],
      float((row["cells"] == k).mean()),
      float(row["similarity"][k]),
      *(
        float(x) if there else None
        for x, there in zip(row["delta"][:, k], had, strict=True)
      ),
    )
    for k in answered(row, len(names))
  )
  yield blocks.Sentence(
    "The cosine of the cell that is nearest to each prototype, and what it"
    " loses where the image is changed."
  )
  columns = ("class", "share of the cells", "cosine")
  yield blocks.Table(
    (*columns, *request.preset.names),
    rows,
    "Classes answered, and because of what",
  )
  if grey:
    yield in_blocks.GREY


def cell(network: Network, number: int) -> Box:
  """The pixels of a cell, at least one of them."""
  rows, columns = network.grid
  y, x = divmod(number, columns)
  size = network.image_size
  top, left = y * size // rows, x * size // columns
  return Box(
    top,
    left,
    max((y + 1) * size // rows, top + 1),
    max((x + 1) * size // columns, left + 1),
  )


class Gathered:
  """What all explained images say together.

  Attributes:
    losses: means of what each class loses by each characteristic.
    agrees: shares of cells that are nearest to the class answered.
  """

  def __init__(self, network: Network, request: Request) -> None:
    self.names = network.class_names
    self.losses = MeanLosses(request.preset, network.classes)
    self.agrees: list[float] = []

  def add(self, row: Mapping[str, Any]) -> None:
    """Adds an image."""
    there = np.bincount(row["cells"].ravel(), minlength=len(self.names)) > 0
    self.losses.add(row["delta"], bool(row["grey"]), there)
    self.agrees.append(float(row["agrees"]))

  def table(self, modified: Sequence[str]) -> blocks.Table:
    """Mean losses of the classes."""
    means, counts = self.losses.means, self.losses.counts
    rows = tuple(
      (
        name,
        int(counts[k].max(initial=0)),
        *(None if np.isnan(x) else float(x) for x in means[k]),
      )
      for k, name in enumerate(self.names)
    )
    return blocks.Table(
      ("class", "images", *modified),
      rows,
      "Because of what, by class: means over images",
    )
