"""Scores over all classes, and over those that a data set has.

A set of other images may lack classes. The scores over all k classes count an
absent one as 0; "present only" averages over the classes that occur. Either
way a wrong answer counts, also if it names an absent class.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Int
import numpy as np

from protojax.types import UserError


def confusion(
  labels: Int[np.ndarray, " n"], answers: Int[np.ndarray, " n"], classes: int
) -> Int[np.ndarray, "k k"]:
  """Counts by label (first axis) and answer; labels of -1 are left out."""
  known = labels >= 0
  pairs = labels[known] * classes + answers[known]
  return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def scores(
  counts: Int[np.ndarray, "k k"], class_names: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
  """Accuracy, macro F1 and balanced accuracy, in both families.

  Args:
    counts: from `confusion`.
    class_names: of all k classes.

  Returns:
    "8way" (the number is k) with "acc", "macro_f1" and "bacc"; "present_only"
    with these and "present_idx" and "present_names".

  Raises:
    UserError: no example has a label.
  """
  of_class = counts.sum(axis=1)
  total = int(of_class.sum())
  if not total:
    raise UserError("no image has a label, so nothing can be scored")
  right = np.diagonal(counts)
  both = of_class + counts.sum(axis=0)
  # A class that neither occurs nor is answered has no F1; it counts as 0.
  f1 = 2 * right / np.maximum(both, 1)
  recall = right / np.maximum(of_class, 1)
  present = np.flatnonzero(of_class)
  accuracy = float(right.sum() / total)
  return {
    f"{len(counts)}way": {
      "acc": accuracy,
      "macro_f1": float(f1.mean()),
      "bacc": float(recall.mean()),
    },
    "present_only": {
      "acc": accuracy,
      "macro_f1": float(f1[present].mean()),
      "bacc": float(recall[present].mean()),
      "present_idx": present.tolist(),
      "present_names": [class_names[k] for k in present.tolist()],
    },
  }
