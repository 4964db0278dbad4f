"""How well scores tell defective from normal: AUROC, AP, F1-max.

All three are computed from a tally: for every distinct score, in ascending
order, the numbers of normal and of defective examples with it. `tally` makes it
from a list of scores; a histogram of pixels (`anomaly.count`) is one, too.
Examples with equal scores pass a threshold together.
"""

from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.types import ArrayLike

# True or not 0: defective.
Labels = Bool[ArrayLike, " n"] | Int[ArrayLike, " n"]


def auroc(labels: Labels, scores: Float[ArrayLike, " n"]) -> float:
  """Area under the ROC curve; nan with one class only, or a nan score.

  The probability that a defective example scores higher than a normal one; a
  tie counts one half (Mann and Whitney).
  """
  return _auroc(*tally(labels, scores))


def tally(
  labels: Labels, scores: Float[ArrayLike, " n"]
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
  """Numbers of normal and of defective examples, by ascending distinct score.

  Both are empty if a score is nan; all metrics are nan then.
  """
  scores = np.asarray(scores)
  if np.isnan(scores).any():
    return np.zeros(0), np.zeros(0)
  distinct, place = np.unique(scores, return_inverse=True)
  defective = np.asarray(labels) != 0
  normal, found = (
    np.bincount(place[chosen], minlength=len(distinct)).astype(np.float64)
    for chosen in (~defective, defective)
  )
  return normal, found


def summary(
  normal: Float[np.ndarray, " s"], defective: Float[np.ndarray, " s"]
) -> dict[str, float]:
  """All three of a tally, under the names `auroc`, `ap` and `f1_max`."""
  return {
    "auroc": _auroc(normal, defective),
    "ap": _average_precision(normal, defective),
    "f1_max": _f1_max(normal, defective),
  }


def _auroc(normal: np.ndarray, defective: np.ndarray) -> float:
  if not (normal.any() and defective.any()):
    return float("nan")
  below = np.cumsum(normal) - normal / 2
  pairs = np.sum(normal) * np.sum(defective)
  return float(np.sum(defective * below) / pairs)


def _average_precision(normal: np.ndarray, defective: np.ndarray) -> float:
  """Sum over the thresholds of (R_i - R_i-1) P_i, without interpolation."""
  if not (normal.any() and defective.any()):
    return float("nan")
  true, flagged = _above(defective), _above(normal + defective)
  # An empty bin above all scores flags nothing; no recall is gained there.
  precision = true / np.maximum(flagged, 1.0)
  gained = defective[::-1] / np.sum(defective)
  return float(np.sum(gained * precision))


def _f1_max(normal: np.ndarray, defective: np.ndarray) -> float:
  """F1 at the threshold where it is largest.

  The threshold is chosen on the labels that judge it, so this is an upper
  bound for a threshold that is chosen beforehand.
  """
  if not (normal.any() and defective.any()):
    return float("nan")
  true, flagged = _above(defective), _above(normal + defective)
  return float(np.max(2 * true / (flagged + np.sum(defective))))


def _above(counts: np.ndarray) -> np.ndarray:
  """Number of examples that reach each threshold, the highest one first."""
  return np.cumsum(counts[::-1])
