"""Weights of a dense head, and what follows from them for kept scores.

For the searches of `active_set`: a change of weights moves few logits much, and
only what these moved is computed again.
"""

import dataclasses
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.types import ArrayLike, UserError

# Class probabilities below it count as this where their logarithm is taken.
_TINY = 1e-300
_AT_ONCE = 512  # images, of which copies are made
# Rounding error of a float32 product, as a share of the sum of its terms.
_ROUNDING = 1e-6

Rows = Float[np.ndarray, "k n"]
Weights = Float[np.ndarray, "k p"]
Vector = Float[np.ndarray, " m"]


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
  """Scores of images, kept for one search after the other.

  Attributes:
    by_prototype: float32 [p n].
    labels: [n].
    classes: k.
    broken: [p], prototypes with a score that is no number; theirs are 0.
  """

  by_prototype: Float[np.ndarray, "p n"]
  labels: Int[np.ndarray, " n"]
  classes: int
  broken: Bool[np.ndarray, " p"]

  @property
  def truth(self) -> Bool[np.ndarray, "k n"]:
    """Whether an image is of a class."""
    return np.arange(self.classes)[:, None] == self.labels


def kept(
  scores: Float[ArrayLike, "n p"], labels: Int[ArrayLike, " n"], classes: int
) -> Scores:
  """Scores in the layout of the search."""
  by_prototype = np.array(np.asarray(scores).T, np.float32, order="C")
  broken = np.any(~np.isfinite(by_prototype), axis=1)
  by_prototype[broken] = 0
  return Scores(by_prototype, np.maximum(labels, 0), classes, broken)


class Penalty(NamedTuple):
  """The penalty: the sum of l1 |w| + ridge / 2 (w - centre)².

  Attributes:
    free: [k p], weights that are searched for; the others are 0.
    l1: [k p].
    centre: [k p].
    ridge: above 0.
  """

  free: Bool[np.ndarray, "k p"]
  l1: Weights
  centre: Weights
  ridge: float


@dataclasses.dataclass
class Point:
  """Weights, and what follows from them; all in float64.

  Attributes:
    weight: [k p].
    logits: [k n].
    norm: [n], log of the sum of the logits' exponentials.
    probabilities: [k n].
    left: [k n], probabilities less truth, as they are in `slope`.
    slope: [k p], gradient of the mean cross entropy.
  """

  weight: Weights
  logits: Rows
  norm: Float[np.ndarray, " n"]
  probabilities: Rows
  left: Rows
  slope: Weights

  def copy(self) -> "Point":
    """One that can be changed."""
    names = (field.name for field in dataclasses.fields(self))
    return Point(**{name: getattr(self, name).copy() for name in names})


def at(scores: Scores, weight: Weights) -> Point:
  """The point of these weights."""
  weight = np.asarray(weight, np.float64)
  # In float64: float32 would round logits to some 1e-6 of their size.
  logits = np.concatenate(
    [
      weight @ scores.by_prototype[:, i : i + _AT_ONCE].astype(np.float64)
      for i in range(0, len(scores.labels), _AT_ONCE)
    ],
    axis=1,
  )
  norm, probabilities = softmax(logits)
  left = probabilities - scores.truth
  slope = np.zeros_like(weight)
  point = Point(weight, logits, norm, probabilities, np.zeros_like(left), slope)
  follow(point, scores, 0.0)
  return point


def softmax(logits: Rows) -> tuple[Float[np.ndarray, " n"], Rows]:
  """Log of the sum of the exponentials, and the probabilities."""
  largest = logits.max(axis=0)
  powers = np.exp(logits - largest)
  total = powers.sum(axis=0)
  return np.log(total) + largest, powers / total


def follow(
  point: Point, scores: Scores, cut: float, rounding: float = 0.0
) -> None:
  """Brings the slope after the probabilities where they differ by `cut`.

  Args:
    point: is changed.
    scores: with their labels.
    cut: smaller differences wait.
    rounding: what the slope may be wrong by; products are in float32 where
      that is enough.
  """
  left = point.probabilities - scores.truth
  moved = np.abs(left - point.left) > cut
  images = np.flatnonzero(moved.any(axis=0))
  classes = np.flatnonzero(moved.any(axis=1))
  if not len(images):
    return
  count = moved.shape[1]
  if len(images) > count / 2:
    images = np.arange(count)
  chosen = np.ix_(classes, images)
  change = (left[chosen] - point.left[chosen]) / count
  enough = _ROUNDING * np.abs(change).sum(axis=1).max() <= rounding
  kind = np.float32 if enough else np.float64
  for start in range(0, len(images), _AT_ONCE):
    some = slice(start, start + _AT_ONCE)
    taken = scores.by_prototype[:, images[some]].astype(kind)
    found = change[:, some].astype(kind) @ taken.T
    point.slope[classes] += found
  point.left[chosen] = left[chosen]


def residual(point: Point, penalty: Penalty) -> Float[np.ndarray, " k"]:
  """The largest component of the proximal gradient, by class; see `convex`."""
  slope = whole_slope(point, penalty)
  there = point.weight
  away = np.abs(there - shrunk(there - slope, penalty.l1))
  return np.max(away * penalty.free, axis=1, initial=0.0)


def whole_slope(point: Point, penalty: Penalty) -> Weights:
  """Gradient of all but the L1 term."""
  ridge = penalty.ridge * (point.weight - penalty.centre)
  return (point.slope + ridge) * penalty.free


def shrunk(
  point: Float[np.ndarray, "*n"], by: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
  """Moved towards 0, but not past it: the proximal step of an L1 term."""
  return np.sign(point) * np.maximum(np.abs(point) - by, 0.0)


def value(point: Point, scores: Scores, penalty: Penalty) -> float:
  """The mean loss with its penalty."""
  own = point.logits[scores.labels, np.arange(len(scores.labels))]
  away = (point.weight - penalty.centre) * penalty.free
  return float(
    np.mean(point.norm - own)
    + np.sum(penalty.l1 * np.abs(point.weight * penalty.free))
    + penalty.ridge / 2 * np.sum(away**2)
  )


def require_numbers(scores: Scores, penalty: Penalty) -> None:
  """Refuses scores of free weights that are no numbers.

  Raises:
    UserError: there is one.
  """
  if np.any(penalty.free & scores.broken):
    raise UserError(
      "the last layer cannot be solved: its loss is not a number. A score of a"
      " training image is nan or far too large."
    )


def freed(point: Point, scores: Scores, penalty: Penalty) -> Point:
  """A copy of the point with 0 for weights that are not free."""
  point = point.copy()
  gone = (point.weight != 0) & ~penalty.free
  for k in np.flatnonzero(gone.any(axis=1)).tolist():
    which = np.flatnonzero(gone[k])
    taken = point.weight[k, which] @ scores.by_prototype[which]
    set_class(point, k, point.logits[k] - taken)
    point.weight[k, which] = 0
  return point


def set_class(point: Point, k: int, logits: Float[np.ndarray, " n"]) -> None:
  """Gives the images other logits of a class."""
  others = norm_of_others(point, k)
  norm = np.logaddexp(others, logits)
  point.probabilities *= np.exp(point.norm - norm)
  point.probabilities[k] = np.exp(logits - norm)
  point.logits[k], point.norm = logits, norm


def norm_of_others(point: Point, k: int) -> Float[np.ndarray, " n"]:
  """Log of the sum of the exponentials of all other logits."""
  rest = point.probabilities[:k].sum(axis=0)
  rest += point.probabilities[k + 1 :].sum(axis=0)
  return point.norm + np.log(np.maximum(rest, _TINY))
