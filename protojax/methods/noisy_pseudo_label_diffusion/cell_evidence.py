"""Evidence of images and prototypes, as blocks for the report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from protojax.data.source import printable
from protojax.explain import blocks, dense_pictures, shapes
from protojax.explain.request import Request
from protojax.methods.noisy_pseudo_label_diffusion.network import Network
from protojax.types import Box, Picture

# Cells around the one that is most similar, on each side of it.
_AROUND = 2


class Patch(NamedTuple):
  """The cell of an image that is most similar to a prototype.

  Attributes:
    number: of the class.
    index: of the image in its source.
    cell: its number in the map, row by row.
    cosine: of the two.
  """

  number: int
  index: int
  cell: int
  cosine: float


def image(
  network: Network,
  data: Any,
  request: Request,
  index: int,
  row: Mapping[str, np.ndarray],
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
  drawn += _maps(row, pixels)
  drawn += dense_pictures.legend(row["classes"], truth, names)
  drawn += _steps(row, names)
  drawn += _because(request, row, names)
  return dense_pictures.explanation(
    request, data, index, row["classes"], truth, drawn
  )


def _maps(
  row: Mapping[str, np.ndarray], pixels: Picture
) -> Iterator[blocks.Block]:
  """Where the seeds disagree, and how clear the nearest prototype is."""
  picture = blocks.Picture(pixels)
  yield blocks.Map(
    np.asarray(row["disagreement"], np.float32),
    0.0,
    1.0,
    "Disagreement of the seeds about each cell: 0, all noise maps lead to the"
    " same answer",
    over=picture,
  )
  yield blocks.Map(
    np.asarray(row["margin"], np.float32),
    0.0,
    1.0,
    "Cosine to the nearest prototype, less that to the second",
    over=picture,
  )


def _steps(
  row: Mapping[str, np.ndarray], names: Sequence[str]
) -> Iterator[blocks.Block]:
  """How the answer comes about, from noise to the last step."""
  own, settled = row["own"], row["settled"]
  at = np.arange(1, len(own) + 1, dtype=np.float64)
  shown = [k for k in range(len(names)) if not np.isnan(own[:, k]).any()]
  yield blocks.Curve(
    tuple(
      blocks.Series(names[k], at, np.asarray(own[:, k], np.float64))
      for k in shown
    ),
    blocks.Axis("step of the sampler"),
    blocks.Axis("cosine"),
    "Mean cosine to its prototype of the cells that end as each class",
  )
  yield blocks.Table(
    ("step", "cells settled", *(names[k] for k in shown)),
    tuple(
      (
        number + 1,
        float(settled[number]),
        *(float(own[number, k]) for k in shown),
      )
      for number in range(len(own))
    ),
    "From noise to the answer",
  )


def _because(
  request: Request, row: Mapping[str, np.ndarray], names: Sequence[str]
) -> Iterator[blocks.Block]:
  """Of each class that is said: its most similar cell, because of what."""
  grey = bool(row["grey"])
  had = request.preset.seen(grey)
  rows = tuple(
    (
      name,
      float((row["classes"] == k).mean()),
      float((row["near"] == k).mean()),
      float(row["similarity"][k]),
      *(
        float(x) if there else None
        for x, there in zip(row["delta"][:, k], had, strict=True)
      ),
    )
    for k, name in enumerate(names)
    if (row["classes"] == k).any()
  )
  yield blocks.Sentence(
    "The cosine of the cell that is most similar to the prototype of each class"
    " said, and what it loses where the image is changed."
  )
  columns = "class", "share said", "nearest prototype", "cosine"
  yield blocks.Table(
    (*columns, *request.preset.names), rows, "Prototypes, and because of what"
  )
  if grey:
    yield blocks.Note(
      "Grey images have neither hue nor saturation, which are left out."
    )


def prototypes(
  network: Network, data: Any, request: Request, found: Sequence[Patch]
) -> Iterator[blocks.Explanation]:
  """Each prototype, by the cells of labelled images nearest to it.

  Args:
    network: of the prototypes.
    data: the training images.
    request: "nearest" says how many cells are shown.
    found: the best cell of each image and class.
  """
  for k, name in enumerate(network.class_names[: request.prototypes_shown]):
    own = sorted(
      (patch for patch in found if patch.number == k),
      key=lambda patch: (-patch.cosine, patch.index),
    )[: request.nearest]
    images = data.examples([patch.index for patch in own])["image"]
    gallery = tuple(
      _around(
        network,
        np.asarray(pixels),
        patch.cell,
        f"{printable(data.source.name(patch.index))}: {patch.cosine:.3f}",
        stretch=shapes.ratio(data, patch.index),
      )
      for patch, pixels in zip(own, images, strict=True)
    )
    yield blocks.Explanation(
      key=f"{request.split}-prototype-{k}",
      title=f"Prototype of {name}",
      scope="global",
      split=request.split,
      subject=name,
      group="Prototypes",
      blocks=(
        blocks.Sentence(
          "A prototype is the mean direction of the cells of its class, and no"
          " image. These cells of labelled images are the most similar to it,"
          " one of each image, with their cosine."
        ),
        blocks.Gallery(gallery, "Nearest cells, in frames"),
        blocks.Table(
          ("image", "x", "y", "cosine"),
          tuple(
            (
              printable(data.source.name(p.index)),
              *_middle(network, p.cell),
              p.cosine,
            )
            for p in own
          ),
          "Cells nearest to prototypes",
        ),
      ),
    )


def _around(
  network: Network, pixels: Picture, cell: int, caption: str, stretch: float
) -> blocks.Picture:
  """A cell in a frame, with as many around it as fit; all have one size."""
  size = network.image_size
  spans = []
  for place, count in zip(
    divmod(cell, network.grid[1]), network.grid, strict=True
  ):
    wide = min(2 * _AROUND + 1, count)
    first = min(max(place - _AROUND, 0), count - wide)
    edges = (first, first + wide, place, place + 1)
    begin, end, *own = (x * size // count for x in edges)
    spans.append((begin, end, own[0] - begin, own[1] - begin))
  (top, bottom, *y), (left, right, *x) = spans
  box = Box(y[0], x[0], y[1], x[1])
  crop = pixels[top:bottom, left:right]
  return blocks.Picture(crop, caption, (blocks.Frame(box),), stretch)


def _middle(network: Network, cell: int) -> tuple[float, float]:
  """x and y of the middle of a cell in pixels."""
  rows, columns = network.grid
  y, x = divmod(cell, columns)
  size = network.image_size
  return (x + 0.5) * size / columns, (y + 0.5) * size / rows


class Gathered:
  """What all explained images say together."""

  def __init__(self, network: Network, request: Request) -> None:
    self.request = request
    self.names = network.class_names
    steps = network.steps if network.denoiser.noisy else 1
    self.own = np.zeros((steps, len(self.names)))
    self.images = np.zeros(len(self.names), int)
    self.settled, self.apart, self.count = np.zeros(steps), 0.0, 0

  def add(self, row: Mapping[str, np.ndarray]) -> None:
    """Adds an image."""
    there = ~np.isnan(row["own"]).any(axis=0)
    self.own += np.nan_to_num(row["own"]) * there
    self.images += there
    self.settled += row["settled"]
    self.apart += float(row["disagreement"].mean())
    self.count += 1

  def overview(
    self, vectors: np.ndarray, more: Iterable[blocks.Block] = ()
  ) -> blocks.Explanation:
    """Prototypes among each other, and means over the images.

    Args:
      vectors: of the prototypes.
      more: stands at the end.
    """
    own = self.own / np.maximum(self.images, 1)[None]
    steps = len(own)
    rows = tuple(
      (
        name,
        int(self.images[k]),
        *(float(own[t, k]) if self.images[k] else None for t in range(steps)),
      )
      for k, name in enumerate(self.names)
    )
    count = max(self.count, 1)
    settled = ", ".join(f"{x:.1%}" for x in self.settled / count)
    return blocks.Explanation(
      key=f"{self.request.split}-overview",
      title="Prototypes and the diffusion",
      scope="overview",
      split=self.request.split,
      blocks=(
        blocks.Sentence(
          "The answer is made from noise in steps. Share of the cells that have"
          f" their final class after each step: {settled}. Mean disagreement of"
          f" the seeds, from 0 (every noise leads to the same answer) to 1:"
          f" {self.apart / count:.4f}."
        ),
        blocks.Table(
          ("class", "images", *(f"step {t + 1}" for t in range(steps))),
          rows,
          "Mean cosine to the own prototype, by step",
        ),
        blocks.Matrix(
          self.names,
          self.names,
          np.asarray(vectors @ vectors.T, np.float64),
          "Cosines of the prototypes",
        ),
        *more,
      ),
    )
