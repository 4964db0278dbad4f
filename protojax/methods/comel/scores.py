"""How well bags and their instances are told apart, on the host."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
from typing import Any

from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.metrics import ranking
from protojax.types import Batch


@dataclasses.dataclass(frozen=True)
class Judged:
  """What was said of some bags.

  Attributes:
    logits: of all classes.
    labels: of the bags.
    instances: p of each instance, without padding.
    truths: label of each instance; -1 is unknown.
  """

  logits: Float[np.ndarray, "b k"]
  labels: Int[np.ndarray, " b"]
  instances: tuple[Float[np.ndarray, " _"], ...]
  truths: tuple[Float[np.ndarray, " _"], ...]

  def of(self, chosen: Bool[np.ndarray, " b"]) -> "Judged":
    """Some of the bags."""
    rows = np.flatnonzero(chosen)
    return Judged(
      self.logits[rows],
      self.labels[rows],
      tuple(self.instances[i] for i in rows),
      tuple(self.truths[i] for i in rows),
    )

  def located(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Truth and p of the known instances of each positive bag."""
    for label, p, truth in zip(
      self.labels, self.instances, self.truths, strict=True
    ):
      known = truth >= 0
      if label % 2 and known.any():
        yield truth[known] > 0, p[known]


def of_batch(batch: Batch, rows: Mapping[str, Any]) -> Judged:
  """What was said of the bags of a batch, without padding.

  Args:
    batch: on the host.
    rows: "logits" and "instances" of its bags.
  """
  real, valid = np.flatnonzero(batch["valid"]), batch["bag"]["valid"]
  truth = batch["truth"]["vectors"][..., 0]
  return Judged(
    np.asarray(rows["logits"])[real],
    np.asarray(batch["label"])[real],
    tuple(np.asarray(rows["instances"])[i][valid[i]] for i in real),
    tuple(truth[i][valid[i]] for i in real),
  )


def joined(parts: Sequence[Judged]) -> Judged:
  """All bags of several batches."""
  return Judged(
    np.concatenate([part.logits for part in parts]),
    np.concatenate([part.labels for part in parts]),
    tuple(p for part in parts for p in part.instances),
    tuple(p for part in parts for p in part.truths),
  )


def of_task(judged: Judged, threshold: float) -> dict[str, float]:
  """Metrics of the bags of one task; of the instances if their truth is known.

  Args:
    judged: the bags of the task.
    threshold: of its instances.
  """
  predicted = judged.logits.argmax(axis=1)
  negative = int(judged.labels.min()) // 2 * 2
  gap = judged.logits[:, negative + 1] - judged.logits[:, negative]
  right = predicted == judged.labels
  found = {"accuracy": float(right.mean()), **_macro(judged, predicted)}
  if len(set(judged.labels % 2)) == 2:
    found["auc"] = ranking.auroc(judged.labels % 2, gap)
    # As if the task of each bag were told.
    told = (gap > 0) == (judged.labels % 2 == 1)
    found["accuracy_of_known_task"] = float(told.mean())
  return {**found, **_located(list(judged.located()), threshold)}


def threshold(judged: Judged) -> float | None:
  """p at the point of the ROC curve where tpr - fpr is largest.

  None if no label of an instance is known, or all known ones are alike.
  """
  found = list(judged.located())
  if not found:
    return None
  truth, p = (np.concatenate(parts) for parts in zip(*found, strict=True))
  if truth.all() or not truth.any():
    return None
  values = np.unique(p)
  place = np.searchsorted(values, p)
  above = [
    np.cumsum(np.bincount(place[chosen], minlength=len(values))[::-1])[::-1]
    / chosen.sum()
    for chosen in (truth, ~truth)
  ]
  return float(values[np.argmax(above[0] - above[1])])


def mean(tasks: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """The mean over tasks of each metric that all of them have."""
  every = list(tasks.values())
  names = [n for n in every[0] if all(n in task for task in every)]
  return {n: float(np.mean([task[n] for task in every])) for n in names}


def _macro(
  judged: Judged, predicted: Int[np.ndarray, " b"]
) -> dict[str, float]:
  """Precision, recall and F1, averaged over the classes of the task."""
  found = []
  for label in sorted(set(judged.labels.tolist())):
    own, said = judged.labels == label, predicted == label
    hits = float((own & said).sum())
    found.append(
      (
        hits / max(said.sum(), 1),
        hits / own.sum(),
        2 * hits / (own.sum() + said.sum()),
      )
    )
  names = "precision", "recall", "f1"
  means = np.mean(found, axis=0)
  return dict(zip(names, map(float, means), strict=True))


def _located(
  found: list[tuple[np.ndarray, np.ndarray]], least: float
) -> dict[str, float]:
  """Metrics of instances; Dice and IoU are means over positive bags.

  "pointing" is the share of positive bags whose most positive instance is
  positive.
  """
  if not found:
    return {}
  truth, p = (np.concatenate(parts) for parts in zip(*found, strict=True))
  if truth.all() or not truth.any():
    return {}
  dice, iou = [], []
  for own, value in found:
    said = value >= least
    both, either = (own & said).sum(), (own | said).sum()
    dice.append(2 * both / max(own.sum() + said.sum(), 1))
    iou.append(both / max(either, 1))
  said = p >= least
  pointing = np.mean([own[value.argmax()] for own, value in found])
  return {
    "instance_auc": ranking.auroc(truth, p),
    "instance_accuracy": float((said == truth).mean()),
    "instance_f1": float(2 * (truth & said).sum() / (truth.sum() + said.sum())),
    "dice": float(np.mean(dice)),
    "iou": float(np.mean(iou)),
    "pointing": float(pointing),
  }
