"""Metrics of several labels for each image, and of places for labels.

Scores and truths are [n k]; a truth of -1 is unknown and counts nowhere. The
names are those of the field: mAP, the mean over classes of average precision;
CP, CR and CF1, means over classes; OP, OR and OF1, of all pairs of an image and
a label together.
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int
import numpy as np

Scores = Float[np.ndarray, "n k"]
Truths = Int[np.ndarray, "n k"]


def average_precision(
  scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> float:
  """Area below precision over recall, as steps; nan without a positive.

  Equal scores stand at one threshold.
  """
  positives = int(truth.sum())
  if not positives:
    return float("nan")
  order = np.argsort(-scores, kind="stable")
  ranked, hits = scores[order], np.cumsum(truth[order])
  # The last of each run of equal scores.
  ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
  precision = hits[ends] / (ends + 1)
  gained = np.diff(hits[ends], prepend=0)
  return float(np.sum(precision * gained) / positives)


def average_precisions(
  scores: Scores, truths: Truths
) -> Float[np.ndarray, " k"]:
  """Average precision of each label over the images where it is known."""
  found = []
  for column, truth in zip(scores.T, truths.T, strict=True):
    known = truth >= 0
    found.append(average_precision(column[known], truth[known] == 1))
  return np.array(found, np.float64)


def mean_average_precision(scores: Scores, truths: Truths) -> float:
  """mAP over the labels that some image has; nan if none has."""
  each = average_precisions(scores, truths)
  known = ~np.isnan(each)
  return float(each[known].mean()) if known.any() else float("nan")


def said(scores: Scores, threshold: float) -> Bool[np.ndarray, "n k"]:
  """The labels whose score is above a threshold."""
  return scores > threshold


def top(scores: Scores, count: int) -> Bool[np.ndarray, "n k"]:
  """The labels with the highest scores of each image, whatever they are."""
  order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
  found = np.zeros(scores.shape, np.bool_)
  np.put_along_axis(found, order, True, axis=1)
  return found


def agreement(
  told: Bool[np.ndarray, "n k"], truths: Truths
) -> dict[str, float]:
  """ "cp", "cr", "cf1", "op", "or" and "of1" of what is said of each image.

  The precision of a label that is never said is 0, and so is the recall of one
  that no image has. CF1 is the harmonic mean of CP and CR.
  """
  known = truths >= 0
  told, there = told & known, truths == 1
  right = (told & there).sum(axis=0)
  cp = float(np.mean(right / np.maximum(told.sum(axis=0), 1)))
  cr = float(np.mean(right / np.maximum(there.sum(axis=0), 1)))
  op = float(right.sum() / max(told.sum(), 1))
  recall = float(right.sum() / max(there.sum(), 1))
  return {
    "cp": cp,
    "cr": cr,
    "cf1": _harmonic(cp, cr),
    "op": op,
    "or": recall,
    "of1": _harmonic(op, recall),
  }


def measure(
  scores: Scores, truths: Truths, threshold: float = 0.5, most: int = 3
) -> dict[str, float]:
  """mAP, and `agreement` at a threshold and for the labels of highest score.

  Args:
    scores: such as probabilities.
    truths: 1, 0 or -1.
    threshold: above which a label is said.
    most: labels of each image that are said otherwise; their metrics end in
      "_top3" for three.
  """
  best = agreement(top(scores, most), truths)
  return {
    "map": mean_average_precision(scores, truths),
    **agreement(said(scores, threshold), truths),
    **{f"{name}_top{most}": value for name, value in best.items()},
  }


def inside(
  points: Float[np.ndarray, "*n e"], boxes: Float[np.ndarray, "t 4"]
) -> Bool[np.ndarray, "*n"]:
  """Whether each point (y, x) lies in one of some boxes.

  Args:
    points: in shares of the image.
    boxes: top, left, bottom, right, in shares of the image.
  """
  y, x = points[..., None, 0], points[..., None, 1]
  top, left, bottom, right = boxes.T
  found = (top <= y) & (y < bottom) & (left <= x) & (x < right)
  return np.asarray(found.any(axis=-1))


def pointing(
  points: Float[np.ndarray, "k 2"],
  grid: Float[np.ndarray, "j 2"],
  boxes: Float[np.ndarray, "t 4"],
  classes: Int[np.ndarray, " t"],
  labels: Sequence[int] | Int[np.ndarray, " m"],
) -> list[tuple[bool, float]]:
  """Pointing game of an image: for each label, a hit and its chance.

  Args:
    points: the place of each label, (y, x) in shares of the image.
    grid: the places that could have been named.
    boxes, classes: of the objects.
    labels: those to be judged; one without a box is left out.

  Returns:
    Whether the point lies in a box of its label, and the share of the grid that
    does.
  """
  found = []
  for label in labels:
    own = boxes[classes == label]
    if len(own):
      hit = bool(inside(points[label], own))
      found.append((hit, float(inside(grid, own).mean())))
  return found


def _harmonic(a: float, b: float) -> float:
  return 2 * a * b / (a + b) if a + b else 0.0
