"""Plots of many scores: histograms, and train against test.

Computes only the geometry, in the units of a small SVG. The templates draw it
with the colours of the page, light or dark, and make the points links.
"""

from collections.abc import Mapping
import dataclasses
import math

from jaxtyping import Float, Int
import numpy as np

from protojax.explain.evidence import Histogram

WIDTH, HEIGHT = 300, 120
_FEWEST, _MOST = 8, 40  # bins
# Share of the scores at each end that is counted in the outermost bin.
_OUTSIDE = 0.001

Tick = tuple[float, str]


@dataclasses.dataclass(frozen=True)
class Histograms:
  """Histograms of the same scores in several splits, on one axis.

  Attributes:
    outlines: split -> path around its bars, WIDTH x HEIGHT.
    ticks: positions on the axis, and their labels.
    description: the same in words.
  """

  outlines: Mapping[str, str]
  ticks: tuple[Tick, ...]
  description: str


@dataclasses.dataclass(frozen=True)
class Point:
  """Place of a prototype in a scatter plot: WIDTH x WIDTH, y downwards."""

  prototype: int
  x: float
  y: float
  description: str


@dataclasses.dataclass(frozen=True)
class Scatter:
  """Scatter plot of global scores in two splits; both axes are the same.

  Attributes:
    points: prototypes from left to right.
    ticks: positions on both axes, and their labels.
    description: the same in words.
  """

  points: tuple[Point, ...]
  ticks: tuple[Tick, ...]
  description: str


def of_scores(
  scores: Mapping[str, Float[np.ndarray, " p"]],
) -> Histograms | None:
  """Histograms of scores by split; None if there are none."""
  return _histograms({k: (s, np.ones(len(s))) for k, s in scores.items()})


def of_counts(counted: Mapping[str, Histogram]) -> Histograms | None:
  """Histograms of scores that were counted in fine bins."""
  return _histograms(
    {
      split: ((h.edges[1:] + h.edges[:-1]) / 2, h.counts)
      for split, h in counted.items()
    }
  )


def scatter(
  prototypes: Int[np.ndarray, " p"],
  first: Float[np.ndarray, " p"],
  second: Float[np.ndarray, " p"],
) -> Scatter | None:
  """Plots scores of the second split (y) over those of the first (x).

  None if no prototype has both.
  """
  known = np.isfinite(first) & np.isfinite(second)
  if not known.any():
    return None
  both = np.stack([first[known], second[known]])
  low, high = _widened(float(both.min()), float(both.max()))
  places = WIDTH * (both - low) / (high - low)
  order = np.argsort(places[0], kind="stable")
  above = int((both[1] > both[0]).sum())
  return Scatter(
    points=tuple(
      Point(
        int(prototypes[known][i]),
        round(float(places[0, i]), 1),
        round(WIDTH - float(places[1, i]), 1),
        f"{_two(both[0, i])}, {_two(both[1, i])}",
      )
      for i in order
    ),
    ticks=_placed(low, high),
    description=f"{above} of {len(order)} prototypes lie above the line",
  )


def ticks(low: float, high: float, most: int = 7) -> list[float]:
  """Round numbers from low to high, about `most` of them or fewer."""
  rough = (high - low) / most
  power = 10.0 ** math.floor(math.log10(rough))
  step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
  first, last = math.ceil(low / step), math.floor(high / step)
  return [round(n * step, 12) + 0.0 for n in range(first, last + 1)]


def _histograms(
  found: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> Histograms | None:
  """Histograms of values with weights, on one axis."""
  found = {
    split: (values[known], weights[known])
    for split, (values, weights) in found.items()
    if (known := np.isfinite(values) & (weights > 0)).any()
  }
  if not found:
    return None
  ends = [_ends(values, weights) for values, weights in found.values()]
  low, high = _widened(min(e[0] for e in ends), max(e[1] for e in ends))
  scores = max(float(weights.sum()) for _, weights in found.values())
  bins = int(np.clip(2 * np.sqrt(scores), _FEWEST, _MOST))
  edges = np.linspace(low, high, bins + 1)
  shares = {
    split: np.histogram(np.clip(values, low, high), edges, weights=weights)[0]
    / weights.sum()
    for split, (values, weights) in found.items()
  }
  most = max(share.max() for share in shares.values())
  return Histograms(
    outlines={k: _outline(share / most) for k, share in shares.items()},
    ticks=_placed(low, high),
    description="; ".join(f"{k}: {_description(*found[k])}" for k in found),
  )


def _ends(values, weights) -> tuple[float, float]:
  """The ends of a range that holds nearly all values."""
  order = np.argsort(values)
  share = np.cumsum(weights[order]) / weights.sum()
  inside = np.searchsorted(share, (_OUTSIDE, 1 - _OUTSIDE))
  low, high = values[order][np.minimum(inside, len(values) - 1)]
  return float(low), float(high)


def _widened(low: float, high: float) -> tuple[float, float]:
  """A range with zero in it and some room at both ends."""
  low, high = min(low, 0.0), max(high, 0.0)
  room = 0.04 * (high - low) or 1.0
  return low - room, high + room


def _outline(heights: Float[np.ndarray, " bins"]) -> str:
  """The path around bars that stand side by side."""
  width = WIDTH / len(heights)
  steps = "".join(
    f"V{HEIGHT * (1 - height):.1f}H{width * (i + 1):.1f}"
    for i, height in enumerate(heights)
  )
  return f"M0 {HEIGHT}{steps}V{HEIGHT}"


def _placed(low: float, high: float) -> tuple[Tick, ...]:
  return tuple(
    (
      round(WIDTH * (tick - low) / (high - low), 1),
      f"{tick:g}".replace("-", "\N{MINUS SIGN}"),
    )
    for tick in ticks(low, high, 6)
  )


def _description(values, weights) -> str:
  mean = float(np.average(values, weights=weights))
  below = float(weights[values < 0].sum() / weights.sum())
  return f"mean {_two(mean)}, {below:.0%} below zero"


def _two(score: float) -> str:
  return f"{score:z.2f}".replace("-", "\N{MINUS SIGN}")
