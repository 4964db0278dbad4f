"""A Newton step for all active weights of a head, by conjugate gradients.

Classes depend on each other through the softmax. What each says alone, the
block of its weights in the Hessian, preconditions the search.
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int
import numpy as np
from scipy import linalg

from protojax.engine import score_point
from protojax.engine.score_point import (
  Penalty,
  Point,
  Rows,
  Scores,
  Vector,
  Weights,
)

# Candidates that join the active set of a class at a time, and the share of
# the worst violation that they must have.
_JOIN, _WORST = 40, 0.2
# Images whose p (1 - p) is below it do not count in a Hessian.
_LIGHT = 2e-5
# Rounds of a quadratic problem.
_ROUNDS = 30
# Of conjugate gradients: what may be left, and most steps.
_LEFT, _STEPS = 1e-2, 60
# Share of a step below which it is taken although nothing is gained.
_SHORTEST = 1e-3


def take(point: Point, scores: Scores, penalty: Penalty) -> None:
  """A Newton step of all active weights, found by conjugate gradients."""
  slope = score_point.whole_slope(point, penalty)
  blocks = _Blocks(point, scores, penalty, slope)
  weight, l1 = blocks.flat(point.weight), blocks.flat(penalty.l1)
  slope = blocks.flat(slope)
  sign = np.where(weight != 0, np.sign(weight), -np.sign(slope))
  step, moves = np.zeros_like(weight), np.ones(len(weight), bool)
  for _ in range(_ROUNDS):
    step = blocks.newton(slope + l1 * sign, step, moves)
    turned = moves & (l1 > 0) & ((weight + step) * sign < 0)
    if not turned.any():
      break
    moves &= ~turned
    step[turned] = -weight[turned]
  step[~moves] = -weight[~moves]
  moved = blocks.logits(step)
  before, length = score_point.value(point, scores, penalty), 1.0
  start = point.weight.copy(), point.logits.copy()
  while True:
    point.weight[blocks.classes, blocks.active] = weight + length * step
    point.logits[:] = start[1] + length * moved
    point.norm[:], point.probabilities[:] = score_point.softmax(point.logits)
    if (
      score_point.value(point, scores, penalty) <= before or length < _SHORTEST
    ):
      return
    length /= 2


def active_set(
  weight: Vector, slope: Vector, l1: Vector, free: Bool[np.ndarray, " m"]
) -> Int[np.ndarray, " a"]:
  """Weights that move: all but 0, and those that should least be 0."""
  support = free & ((weight != 0) | (l1 == 0))
  beyond = np.where(free & ~support, np.abs(slope) - l1, 0.0)
  worst = np.argsort(-beyond)[:_JOIN]
  joined = worst[beyond[worst] > max(_WORST * beyond.max(), 0.0)]
  return np.union1d(np.flatnonzero(support), joined)


def hessian(
  taken: Float[np.ndarray, "a n"], p: Float[np.ndarray, " n"], ridge: float
) -> Float[np.ndarray, "a a"]:
  """Second derivatives of the mean loss by the weights to one class.

  Args:
    taken: float32, scores of the active prototypes.
    p: [n], probabilities of the class.
    ridge: of the penalty.
  """
  curved = np.flatnonzero(p * (1 - p) > _LIGHT)
  root = np.sqrt(p * (1 - p) / len(p))[curved]
  half = taken[:, curved] * np.float32(root)
  found = (half @ half.T).astype(np.float64)
  found[np.diag_indices_from(found)] += ridge
  return found


class _Blocks:
  """The Hessian of the active weights, as a product.

  Attributes:
    classes: [m], of each active weight.
    active: [m], its prototype.
  """

  def __init__(
    self, point: Point, scores: Scores, penalty: Penalty, slope: Weights
  ) -> None:
    self._scores, self._ridge = scores, penalty.ridge
    self._count, self._enough = len(scores.labels), 0.0
    found, images, taken, factors = [], [], [], []
    for k, p in enumerate(point.probabilities):
      active = active_set(
        point.weight[k], slope[k], penalty.l1[k], penalty.free[k]
      )
      curved = np.flatnonzero(p * (1 - p) > _LIGHT)
      rows = scores.by_prototype[active]
      block = hessian(rows, p, penalty.ridge)
      factors.append(linalg.cho_factor(block, check_finite=False))
      found.append(active)
      images.append(curved)
      taken.append(rows[:, curved])
    self.active = np.concatenate(found)
    self.classes = np.repeat(np.arange(len(found)), [len(x) for x in found])
    self._images = np.concatenate(images)
    chosen = np.repeat(np.arange(len(images)), [len(x) for x in images])
    self._p = point.probabilities[chosen, self._images]
    self._taken, self._factors = taken, factors
    self._weights = _parts(found)
    self._pairs = _parts(images)

  def flat(self, weights: Weights) -> Vector:
    """The active ones of the weights."""
    return weights[self.classes, self.active]

  def logits(self, step: Vector) -> Rows:
    """What a step adds to all logits."""
    parts = (
      np.float32(step[part]) @ self._scores.by_prototype[self.active[part]]
      for part in self._weights
    )
    return np.stack([np.float64(x) for x in parts])

  def newton(
    self, slope: Vector, start: Vector, moves: Bool[np.ndarray, " m"]
  ) -> Vector:
    """The step d with H d = -slope where it moves; as in `start` elsewhere."""
    step = start
    left = (-slope - self._product(step)) * moves
    near = self._near(left) * moves
    ahead, size = near, left @ near
    # Of the first search: later ones only mend what weights at 0 changed.
    self._enough = self._enough or float(_LEFT**2 * size)
    for _ in range(_STEPS):
      if size <= self._enough:
        break
      curved = self._product(ahead) * moves
      length = size / (ahead @ curved)
      step = step + length * ahead
      left = left - length * curved
      near = self._near(left) * moves
      before, size = size, left @ near
      ahead = near + size / before * ahead
    return step

  def _near(self, x: Vector) -> Vector:
    """The inverse of each class's block."""
    parts = zip(self._factors, self._weights, strict=True)
    return np.concatenate(
      [linalg.cho_solve(f, x[part], check_finite=False) for f, part in parts]
    )

  def _product(self, step: Vector) -> Vector:
    small = step.astype(np.float32)
    parts = list(zip(self._taken, self._weights, strict=True))
    moved = np.concatenate([small[part] @ x for x, part in parts])
    mean = np.bincount(self._images, self._p * moved, self._count)
    pull = self._p * (moved - mean[self._images]) / self._count
    pull = pull.astype(np.float32)
    parts = zip(self._taken, self._pairs, strict=True)
    found = np.concatenate([x @ pull[part] for x, part in parts])
    return found + self._ridge * step


def _parts(found: Sequence[Int[np.ndarray, " m"]]) -> list[slice]:
  """Where each array lies among all of them, one after the other."""
  ends = np.cumsum([0, *(len(x) for x in found)])
  return [slice(*ends[i : i + 2]) for i in range(len(found))]
