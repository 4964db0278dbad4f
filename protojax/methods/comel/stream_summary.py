"""What a whole stream of tasks came to, and what pseudo labels were worth."""

from collections.abc import Mapping, Sequence
import dataclasses
import re
from typing import Any

import numpy as np

from protojax.metrics import continual
from protojax.types import Batch

# Metrics whose A_T and forgetting are told.
_TOLD = (
  "accuracy",
  "accuracy_of_known_task",
  "auc",
  "instance_auc",
  "instance_f1",
  "dice",
  "pointing",
)
_FIGURES = ("kept", "kept_right", "kept_positive", "positive_right")


@dataclasses.dataclass
class Figures:
  """Counts pseudo labels of the instances of positive bags.

  Attributes:
    confidence: tau_1, above which a bag's labels are used.
  """

  confidence: float

  def __post_init__(self) -> None:
    self._every = self._kept = self._positive = 0
    self._known = self._right = self._true = self._own = 0

  def add(self, batch: Batch, rows: Mapping[str, Any]) -> None:
    """Counts those of a batch.

    Args:
      batch: on the host.
      rows: "probabilities" and "logits" of the bags; "label" and "kept" of
        their instances.
    """
    sure = np.max(rows["probabilities"], axis=1) > self.confidence
    right = rows["logits"].argmax(axis=1) == batch["label"]
    truth = batch["truth"]["vectors"][..., 0]
    for i in np.flatnonzero(batch["valid"] & (batch["label"] % 2 == 1)):
      valid = batch["bag"]["valid"][i]
      self._every += int(valid.sum())
      self._own += int((truth[i][valid] > 0).sum())
      if not (sure[i] and right[i]):
        continue
      kept = rows["kept"][i] & valid
      said, own = rows["label"][i][kept], truth[i][kept]
      known = own >= 0
      self._kept += len(said)
      self._positive += int((said == 1).sum())
      self._known += int(known.sum())
      self._right += int((said == own)[known].sum())
      self._true += int(((said == 1) & (own == 1)).sum())

  def found(self) -> dict[str, float]:
    """Shares of the labels, and how many of them are right.

    "kept": of all instances of positive bags. "kept_positive": of positive
    labels among the kept. "kept_right" and "positive_right": of what is true
    among the kept, and among the positive, if the truth is known; beside it the
    "prevalence" of positive instances.
    """
    found = {"kept": self._kept / max(self._every, 1)}
    if self._kept:
      found["kept_positive"] = self._positive / self._kept
    if self._known:
      found["kept_right"] = self._right / self._known
      found["prevalence"] = self._own / self._every
      if self._positive:
        found["positive_right"] = self._true / self._positive
    return found


def slug(task: str) -> str:
  """A task's name as it is in the names of metrics."""
  return "-".join(task.lower().split())


def summary(
  tasks: Sequence[str], stages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Entries of summary.json.

  Args:
    tasks: in order.
    stages: "id" and "metrics" of each.

  Returns:
    "stream": of each metric its average A_T, forgetting, and matrix (rows:
    after which task; null: not measured); "pseudo_labels": means over tasks.
  """
  kept = [s["metrics"] for s in stages if re.match(r"\d+-keep-", s["id"])]
  names = [slug(task) for task in tasks]
  stream: dict[str, Any] = {}
  for metric in _TOLD:
    whole = np.full((len(names), len(names)), np.nan)
    # A run that goes on after another one knows its own tasks alone.
    for row, metrics in enumerate(kept, len(names) - len(kept)):
      whole[row] = [metrics.get(f"{n}_{metric}", np.nan) for n in names]
    if np.isnan(whole[-1]).any():
      continue
    stream[metric] = {
      "average": continual.average(whole),
      "forgetting": continual.forgetting(whole),
      "matrix": [[None if np.isnan(x) else x for x in row] for row in whole],
    }
  labels = {
    name: float(np.mean(values))
    for name in (*_FIGURES, "prevalence")
    if (values := [m[name] for m in kept if name in m])
  }
  return {"tasks": list(tasks), "stream": stream, "pseudo_labels": labels}
