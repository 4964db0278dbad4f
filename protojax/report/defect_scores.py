"""A plot of the scores of all inspections, with the threshold.

A histogram with the threshold between two bins. Normal images go upwards and
defective images downwards, so that it can be read without colours.
"""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from protojax.datasets.collection import NORMAL
from protojax.explain.inspection import Inspection
from protojax.report import defect_sentences, plots

_BINS = 48


@dataclasses.dataclass(frozen=True)
class Row:
  """One histogram of the drawing.

  Attributes:
    name: of the kind of images.
    path: of its bars, in a square of 100 x 100.
    description: the same in words.
  """

  name: str
  path: str
  description: str


@dataclasses.dataclass(frozen=True)
class Drawing:
  """Histograms above each other, on one axis.

  Attributes:
    rows: one for each kind of images that there is.
    threshold: its place on the axis, in percent of the width.
    label: text at the threshold.
    ticks: places on the axis, in percent, and their labels.
    axis: name of the axis.
    most: the largest number of images in a bin.
  """

  rows: tuple[Row, ...]
  threshold: float
  label: str
  ticks: tuple[tuple[float, str], ...]
  axis: str
  most: int


def draw(inspections: Sequence[Inspection]) -> Drawing | None:
  """Histograms of the scores; None if there are none.

  If there are several thresholds, each score is minus its threshold.
  """
  thresholds = {e.threshold.value for e in inspections}
  several = len(thresholds) > 1
  mark = 0.0 if several or not thresholds else thresholds.pop()
  scores = np.array([e.excess if several else e.score for e in inspections])
  finite = np.isfinite(scores)
  if not finite.any():
    return None
  axis = "score above the threshold" if several else "score"
  edges = _edges(scores[finite], mark)
  span = edges[-1] - edges[0]
  kinds = np.array([_group(e) for e in inspections])
  counts = {
    name: _count(scores[finite & (kinds == name)], edges)
    for name in ("normal", "defective", "unlabelled")
    if (finite & (kinds == name)).any()
  }
  most = max(int(count.max()) for count in counts.values())
  rows = tuple(
    Row(
      name=name,
      path=_bars(count / most, down=name == "defective"),
      description=_description(
        name, scores[finite & (kinds == name)], mark, axis
      ),
    )
    for name, count in counts.items()
  )
  return Drawing(
    rows=rows,
    threshold=100 * (mark - edges[0]) / span,
    label="threshold"
    if several
    else f"threshold {defect_sentences.figure(mark)}",
    ticks=tuple(
      (100 * (tick - edges[0]) / span, f"{tick:g}".replace("-", "−"))
      for tick in plots.ticks(edges[0], edges[-1])
    ),
    axis=axis,
    most=most,
  )


def _group(e: Inspection) -> str:
  if e.kind is None:
    return "unlabelled"
  return "normal" if e.kind == NORMAL else "defective"


def _edges(scores: np.ndarray, mark: float) -> np.ndarray:
  """Edges of equally wide bins over all scores; the mark is an edge."""
  low, high = min(scores.min(), mark), max(scores.max(), mark)
  # All scores are at the mark: bins of any width will do.
  width = (high - low) / (_BINS - 2) or max(abs(mark), 1.0) / _BINS
  first = math.floor((low - mark) / width) - 1
  last = math.ceil((high - mark) / width) + 1
  return mark + width * np.arange(first, last + 1)


def _count(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
  """Number of scores in each bin; its upper edge belongs to a bin."""
  bins = np.searchsorted(edges, scores, side="left") - 1
  return np.bincount(bins, minlength=len(edges) - 1)


def _bars(shares: np.ndarray, down: bool) -> str:
  """The path of a bar for every bin with images, from the base line."""
  width = 100 / len(shares)
  base = 0 if down else 100
  return "".join(
    f"M{i * width:.2f} {base}v{(1 if down else -1) * 100 * share:.1f}"
    f"h{0.9 * width:.2f}V{base}z"
    for i, share in enumerate(shares.tolist())
    if share
  )


def _description(name: str, scores: np.ndarray, mark: float, axis: str) -> str:
  low, middle, high = map(
    defect_sentences.figure,
    (scores.min(), float(np.median(scores)), scores.max()),
  )
  above = int((scores > mark).sum())
  images = "image" if len(scores) == 1 else "images"
  return (
    f"{len(scores)} {name} {images}: {axis} from {low} to {high}, median"
    f" {middle}; {above} above the threshold."
  )
