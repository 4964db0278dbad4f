"""Solves for a dense last layer, class by class and then for all at once.

L1 sets most weights to other classes to 0, so a class has few weights that
matter: its active set. One class after the other takes Newton steps on its own
(glmnet; Friedman, Hastie and Tibshirani, 2010), those far from their minimum
first. When little is left, a Newton step for all active weights together
brings the last digits fast. The search is short where it starts near its end,
as after the removal of a prototype.
"""

from jaxtyping import Float
import numpy as np
from scipy import linalg

from protojax.engine import newton_step, score_point
from protojax.engine.score_point import Penalty, Point, Scores, Vector

# A class is behind if its residual is above this share of the largest. As many
# as this share of all classes are visited one by one.
_BEHIND, _FEW = 0.1, 0.25
# Newton steps of a class at a visit, and rounds of a quadratic problem.
_VISIT, _ROUNDS = 12, 30
# Probabilities that moved by less than this share of the residual wait.
_CUT = 1e-3
# Share of a step below which it is taken although nothing is gained.
_SHORTEST = 1e-3


def solve(
  scores: Scores,
  start: Point,
  penalty: Penalty,
  tolerance: float,
  rounds: int,
  alone: bool = False,
) -> tuple[Point, float, int]:
  """The weights with the smallest mean cross entropy plus penalty.

  Args:
    scores: with their labels.
    start: where the search starts; it is not changed.
    penalty: makes the minimum unique.
    tolerance: of `residual`; ends the search.
    rounds: most rounds.
    alone: only visit classes one by one: the search ends where many are behind,
      which is soon, and before the last digits.

  Returns:
    The point, its largest residual, and the number of rounds.
  """
  point = score_point.freed(start, scores, penalty)
  score_point.follow(point, scores, 0.0)
  worst, cut, number, last = 0.0, 0.0, 0, tolerance / 10
  for number in range(rounds + 1):
    by_class = score_point.residual(point, penalty)
    if by_class.max() <= tolerance and cut > last:
      score_point.follow(point, scores, last, last)
      by_class = score_point.residual(point, penalty)
    worst = float(by_class.max())
    if worst <= tolerance or number == rounds:
      break
    behind = np.flatnonzero(by_class > _BEHIND * worst)
    if len(behind) <= _FEW * scores.classes:
      enough = max(tolerance / 2, worst * _BEHIND / 5)
      for k in behind.tolist():
        _visit(point, k, scores, penalty, enough)
    elif alone:
      break
    else:
      newton_step.take(point, scores, penalty)
    cut = max(last, _CUT * worst)
    score_point.follow(point, scores, cut, last)
  return point, worst, number


def _visit(
  point: Point, k: int, scores: Scores, penalty: Penalty, enough: float
) -> None:
  """Newton steps of the weights to one class."""
  others = score_point.norm_of_others(point, k)
  is_own = scores.labels == k
  free, l1, centre = penalty.free[k], penalty.l1[k], penalty.centre[k]
  weight, logits = point.weight[k].copy(), point.logits[k].copy()
  count = len(logits)

  def loss(
    weight: Float[np.ndarray, " p"], logits: Float[np.ndarray, " n"]
  ) -> float:
    over = logits - others
    away = (weight - centre) * free
    return float(
      np.mean(np.logaddexp(0, over) - is_own * over)
      + l1 @ np.abs(weight)
      + penalty.ridge / 2 * away @ away
    )

  best = loss(weight, logits)
  for _ in range(_VISIT):
    p = _sigmoid(logits - others)
    slope = scores.by_prototype @ np.float32(p - is_own) / count
    slope = (slope + penalty.ridge * (weight - centre)) * free
    left = np.abs(weight - score_point.shrunk(weight - slope, l1)) * free
    if left.max() <= enough:
      break
    active = newton_step.active_set(weight, slope, l1, free)
    taken = scores.by_prototype[active]
    hessian = newton_step.hessian(taken, p, penalty.ridge)
    step = _quadratic(hessian, slope[active], weight[active], l1[active])
    moved = np.float64(np.float32(step) @ taken)
    length = 1.0
    while True:
      found = weight.copy()
      found[active] += length * step
      now = loss(found, logits + length * moved)
      if now <= best or length < _SHORTEST:
        break
      length /= 2
    weight, logits, best = found, logits + length * moved, now
  point.weight[k] = weight
  score_point.set_class(point, k, logits)


def _sigmoid(x: Vector) -> Vector:
  return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def _quadratic(
  hessian: Float[np.ndarray, "m m"], slope: Vector, weight: Vector, l1: Vector
) -> Vector:
  """The step d that makes d·slope + d·H·d / 2 + l1·|weight + d| small.

  Weights that would change their sign become 0, all at once, and may leave it
  once more. Near the minimum, where few do, the step is the best one.
  """
  sign = np.where(weight != 0, np.sign(weight), -np.sign(slope))
  step, moves = np.zeros_like(weight), np.ones(len(weight), bool)
  held = np.zeros(len(weight), bool)
  for _ in range(_ROUNDS):
    step[~moves] = -weight[~moves]
    wanted = -(slope + l1 * sign)[moves]
    wanted -= hessian[:, ~moves][moves] @ step[~moves]
    block = hessian[:, moves][moves]
    factor = linalg.cho_factor(block, overwrite_a=True, check_finite=False)
    step[moves] = linalg.cho_solve(factor, wanted, check_finite=False)
    turned = moves & (l1 > 0) & ((weight + step) * sign < 0)
    if turned.any():
      moves &= ~turned
      continue
    tilt = slope + hessian @ step
    leaves = ~moves & ~held & (np.abs(tilt) > l1)
    if not leaves.any():
      break
    sign[leaves] = -np.sign(tilt[leaves])
    moves |= leaves
    held |= leaves
  step[~moves] = -weight[~moves]
  return step
