"""Evidence of one image: its segments, and the tokens that speak for each.

Blocks hold all of it, so that the report needs neither a mouse nor scripts:
each segment has a picture with its tokens framed, and rows in the tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import UInt8
import numpy as np

from protojax.explain import blocks, dense_pictures, in_blocks
from protojax.explain.request import Request
from protojax.methods.pem import segments as segments_lib
from protojax.methods.pem.network import Network
from protojax.types import Box, Picture

# Segments of an image whose tokens are shown, the largest first.
MOST = 6
_PATCHES = 4  # tokens of a segment whose patches are shown


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
  truth = _truth(example)
  names = network.class_names
  shown = largest(row)
  drawn: list[blocks.Block] = [
    dense_pictures.pictures(pixels, row["classes"], truth, names)
  ]
  drawn += _segments(network, row, shown, pixels)
  if shown:
    drawn.append(_pointed_at(network, request, row, shown, pixels))
  drawn += dense_pictures.legend(row["classes"], truth, names)
  drawn += _because(request, row, shown, names)
  drawn += _tokens(network, row, shown)
  return dense_pictures.explanation(
    request, data, index, row["classes"], truth, drawn
  )


def _truth(example: Mapping[str, Any]) -> np.ndarray | None:
  if "segments" in example:
    found = segments_lib.of_instances(example["segments"])
    return np.asarray(segments_lib.classes_of(found)[0])
  return np.asarray(example["mask"][0]) if "mask" in example else None


def largest(row: Mapping[str, np.ndarray]) -> list[int]:
  """Numbers of the queries that gave a segment, the largest segment first."""
  sizes = np.bincount(row["plane"].ravel(), minlength=len(row["merged"]) + 1)
  own = np.flatnonzero(row["merged"] == np.arange(len(row["merged"])))
  order = np.argsort(-sizes[1:][own], kind="stable")
  return [int(q) for q in own[order][:MOST] if sizes[q + 1]]


def _segments(
  network: Network,
  row: Mapping[str, np.ndarray],
  shown: Sequence[int],
  pixels: Picture,
) -> Iterator[blocks.Block]:
  """Each segment with its tokens framed, and the patches of the best."""
  if not shown:
    yield blocks.Note(
      "No query says a class with a score above"
      f" {network.thresholds.score:g}: the image has no segment."
    )
    return
  alone, patches = [], []
  for number, q in enumerate(shown, 1):
    name = network.class_names[int(row["kinds"][q])]
    inside = row["plane"] == q + 1
    best = _best(row, q)
    frames = tuple(
      blocks.Frame(cell(network, layer, int(row["token"][q, layer, a])))
      for layer, a in best
    )
    picture = dense_pictures.alone(pixels, inside)
    alone.append(
      blocks.Picture(picture, f"Segment {number}: {name}", _once(frames))
    )
    for layer, a in best[:_PATCHES]:
      box = cell(network, layer, int(row["token"][q, layer, a]))
      patches.append(
        blocks.Picture(
          _around(pixels, box),
          f"Segment {number}, layer {layer + 1}, head {a + 1}:"
          f" {row['head'][q, layer, a]:.2f}",
        )
      )
  yield blocks.Gallery(
    tuple(alone),
    "The largest segments, each without the rest of the image; frames are the"
    " most similar tokens that its query has picked",
  )
  yield blocks.Gallery(tuple(patches), "Patches around the most similar tokens")


def _pointed_at(
  network: Network,
  request: Request,
  row: Mapping[str, np.ndarray],
  shown: Sequence[int],
  pixels: Picture,
) -> blocks.Block:
  """The segments with a sentence each: the token that spoke most for it."""
  numbers = np.full(row["plane"].shape, np.nan)
  texts = []
  for n, q in enumerate(shown):
    inside = row["plane"] == q + 1
    numbers[inside] = n
    layer, a = _best(row, q, 1)[0]
    box = cell(network, layer, int(row["token"][q, layer, a]))
    cause = in_blocks.cause(
      request.preset, row["delta"][:, q], bool(row["grey"])
    )
    because = (
      f"; {cause.changed} the similarity of all its tokens,"
      f" {float(row['similarity'][q]):.2f}, loses {cause.loss:.2f}"
      if cause
      else ""
    )
    texts.append(
      f"Segment {n + 1}, {network.class_names[int(row['kinds'][q])]},"
      f" {inside.mean():.0%} of the image: of the tokens that its query has"
      f" picked, that of layer {layer + 1}, head {a + 1} around"
      f" x {(box.left + box.right) / 2:g}, y {(box.top + box.bottom) / 2:g} is"
      f" most similar to it, {float(row['head'][q, layer, a]):.2f}{because}."
    )
  return blocks.Regions(
    blocks.Picture(pixels, "Image"),
    numbers,
    tuple(texts),
    "Point at a segment or its line, or tap it, for the reason of its class",
  )


def _best(
  row: Mapping[str, np.ndarray], q: int, most: int = 12
) -> list[tuple[int, int]]:
  """Layer and head of the tokens of a query, the most similar first."""
  values = row["head"][q]
  order = np.argsort(-values.ravel(), kind="stable")[:most]
  return [divmod(int(n), values.shape[1]) for n in order]


def _once(frames: Sequence[blocks.Frame]) -> tuple[blocks.Frame, ...]:
  return tuple(dict.fromkeys(frames))


def cell(network: Network, layer: int, token: int) -> Box:
  """The pixels of a token: its cell in the map that a layer reads."""
  rows, columns = network.grids[layer]
  y, x = divmod(token, columns)
  size = network.image_size
  return Box(
    y * size // rows,
    x * size // columns,
    (y + 1) * size // rows,
    (x + 1) * size // columns,
  )


def _around(pixels: Picture, box: Box) -> UInt8[np.ndarray, "h w 3"]:
  """A cell and as much again on each side, as far as there is an image."""
  high, wide = box.bottom - box.top, box.right - box.left
  return pixels[
    max(box.top - high, 0) : box.bottom + high,
    max(box.left - wide, 0) : box.right + wide,
  ]


def _because(
  request: Request,
  row: Mapping[str, np.ndarray],
  shown: Sequence[int],
  names: Sequence[str],
) -> Iterator[blocks.Block]:
  """Of each segment: its size, its similarity, and because of what."""
  grey = bool(row["grey"])
  had = request.preset.seen(grey)
  rows = tuple(
    (
      number,
      names[int(row["kinds"][q])],
      float(row["scores"][q]),
      float((row["plane"] == q + 1).mean()),
      float(row["similarity"][q]),
      *(
        float(x) if there else None
        for x, there in zip(row["delta"][:, q], had, strict=True)
      ),
    )
    for number, q in enumerate(shown, 1)
  )
  yield blocks.Sentence(
    "How similar the tokens of a segment are to its query, and what that loses"
    " where the image is changed."
  )
  columns = ("segment", "class", "score", "share of the image", "similarity")
  yield blocks.Table(
    (*columns, *request.preset.names), rows, "Segments, and because of what"
  )
  if grey:
    yield blocks.Note(
      "Grey images have neither hue nor saturation, which are left out."
    )


def _tokens(
  network: Network, row: Mapping[str, np.ndarray], shown: Sequence[int]
) -> Iterator[blocks.Block]:
  """Every token of every segment: its layer, head, place and similarity."""
  rows = []
  for number, q in enumerate(shown, 1):
    name = network.class_names[int(row["kinds"][q])]
    for layer, of_heads in enumerate(row["token"][q]):
      for a, token in enumerate(of_heads):
        box = cell(network, layer, int(token))
        rows.append(
          (
            number,
            name,
            layer + 1,
            a + 1,
            (box.left + box.right) / 2,
            (box.top + box.bottom) / 2,
            box.right - box.left,
            float(row["head"][q, layer, a]),
          )
        )
  yield blocks.Sentence(
    "Exactly these tokens entered the queries of the segments; x and y are the"
    " middle of a token, in pixels of the network's input."
  )
  yield blocks.Table(
    ("segment", "class", "layer", "head", "x", "y", "size", "similarity"),
    tuple(rows),
    "Tokens that entered the segments",
  )


class Gathered:
  """What all explained images say together, class by class."""

  def __init__(self, network: Network, request: Request) -> None:
    self.names = network.class_names
    self.modified = request.preset.names
    classes, columns = len(self.names), 2 + len(self.modified)
    self.preset = request.preset
    self.sums = np.zeros((classes, columns))
    self.counts = np.zeros((classes, columns), np.int64)

  def add(self, row: Mapping[str, np.ndarray]) -> None:
    """Adds the segments of an image."""
    grey = bool(row["grey"])
    had = np.concatenate([[True, True], self.preset.seen(grey)])
    for q in largest(row):
      k = int(row["kinds"][q])
      values = [row["scores"][q], row["similarity"][q], *row["delta"][:, q]]
      self.sums[k] += np.where(had, values, 0)
      self.counts[k] += had

  def overview(self, request: Request) -> blocks.Explanation:
    """Means over the segments of each class."""
    rows = tuple(
      (
        name,
        int(self.counts[k, 0]),
        *(
          float(total / count) if count else None
          for total, count in zip(self.sums[k], self.counts[k], strict=True)
        ),
      )
      for k, name in enumerate(self.names)
      if self.counts[k, 0]
    )
    columns = ("class", "segments", "score", "similarity", *self.modified)
    return blocks.Explanation(
      key=f"{request.split}-overview",
      title="Classes",
      scope="overview",
      split=request.split,
      blocks=(
        blocks.Sentence(
          "The mean over the segments of each class: how similar their tokens"
          " are to their query, and what that loses by each modification."
        ),
        blocks.Table(columns, rows, "Because of what, by class"),
      ),
    )
