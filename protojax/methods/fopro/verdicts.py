"""Verdicts on all training images after training, and how good they are."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int32
import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.methods.fopro import cleaning, web
from protojax.methods.fopro.network import Network
from protojax.metrics import ranking
from protojax.types import Array, Batch, State

KEPT, RELABELLED, DROPPED = "kept", "relabelled", "dropped"


class Verdicts(NamedTuple):
  """What becomes of each training image; also an asset of a run.

  Attributes:
    label: the given one, or a new one.
    kept: False for images that are dropped.
    confidence: w, the vote for the given label.
    relation: rho, the relation score of the given label.
    surest: the largest vote for any label.
    voted: the class of that vote.
    loss: cross entropy of the given label.
  """

  label: Int32[np.ndarray, " n"]
  kept: Bool[np.ndarray, " n"]
  confidence: Float[np.ndarray, " n"]
  relation: Float[np.ndarray, " n"]
  surest: Float[np.ndarray, " n"]
  voted: Int32[np.ndarray, " n"]
  loss: Float[np.ndarray, " n"]

  @classmethod
  def empty(cls, count: int) -> "Verdicts":
    """Zeros, for their shapes."""

    def zeros(kind: type) -> np.ndarray:
      # Each an array of its own: a sweep writes into them.
      return np.zeros(count, kind)

    return cls(
      label=zeros(np.int32),
      kept=zeros(bool),
      confidence=zeros(np.float32),
      relation=zeros(np.float32),
      surest=zeros(np.float32),
      voted=zeros(np.int32),
      loss=zeros(np.float32),
    )

  def word(self, i: int, given: int) -> str:
    """The verdict on an image that had a label, in a word."""
    if not self.kept[i]:
      return DROPPED
    return RELABELLED if self.label[i] != given else KEPT

  @property
  def doubt(self) -> Float[np.ndarray, " n"]:
    """1 - max(w, rho): how little speaks for the given label."""
    return 1 - np.maximum(self.confidence, self.relation)


class Rule(NamedTuple):
  """How verdicts are given.

  Attributes:
    mode: of cleaning.
    alpha: share of the classifier in the vote.
    threshold: of vote and relation.
    density: whether each class has its own temperature.
    temperature: tau.
    prototypes: False for baselines, which have none.
  """

  mode: int
  alpha: float
  threshold: float
  density: bool
  temperature: float
  prototypes: bool


def swept(
  network: Network, rule: Rule, state: State, data: Stream, listed: web.Listed
) -> Verdicts:
  """Judges all images of a stream.

  Args:
    network: of the method.
    rule: how.
    state: of the network.
    data: the images in source order.
    listed: their labels, and who is trusted.
  """
  found = Verdicts.empty(len(listed.labels))
  measured = _Measured(network, rule)
  for batch, rows in parallel.each(measured, state, data.batches()):
    own = batch["valid"]
    at = batch["index"][own]
    given, trusted = listed.labels[at], listed.trusted[at]
    logits, near, relations = (
      rows[name][own] for name in ("logits", "near", "relations")
    )
    votes = cleaning.vote(
      logits, near if rule.prototypes else None, given, trusted, rule.alpha
    )
    made = cleaning.cleaned(
      rule.mode, votes, relations, given, trusted, rule.threshold
    )
    entropy = -cleaning.of_label(jax.nn.log_softmax(logits), given)
    columns = (
      made.label,
      made.kept,
      made.confidence,
      made.score,
      jnp.max(votes, axis=1),
      jnp.argmax(votes, axis=1),
      entropy,
    )
    for column, values in zip(found, columns, strict=True):
      column[at] = values
  return found


class _Measured(NamedTuple):
  """`(state, batch) -> rows` for the host."""

  network: Network
  rule: Rule

  def __call__(self, state: State, batch: Batch) -> Mapping[str, Array]:
    found = self.network.seen(state, batch["image"])
    temperatures = jnp.asarray(state.memory["prototypes"].temperatures)
    if not self.rule.density:
      temperatures = jnp.full_like(temperatures, self.rule.temperature)
    return {
      "logits": found.logits,
      "near": found.cosines / temperatures[None],
      "relations": found.relations,
    }


def metrics(
  found: Verdicts, listed: web.Listed, truth: Int32[np.ndarray, " n"]
) -> dict[str, float]:
  """How good verdicts on the web's images are, where the truth is known.

  "noise" are images whose label is wrong. "noise_auroc" ranks by
  `Verdicts.doubt`, "noise_auroc_loss" by the loss; an image is found if it is
  dropped or has a new label. "relabel_accuracy" is of the new labels,
  "recovered" the share of images of another class that got their true label.

  Args:
    found: the verdicts.
    listed: given labels, and which images are trusted.
    truth: see `web.truth`.
  """
  own = ~listed.trusted
  changed = found.kept & (found.label != listed.labels)
  said = {
    "dropped": float((~found.kept[own]).mean()),
    "relabelled": float(changed[own].mean()),
  }
  own &= truth != web.UNKNOWN
  wrong = truth != listed.labels
  if not (own & wrong).any() or not (own & ~wrong).any():
    return said
  noticed = ~found.kept | changed
  other = own & wrong & (truth >= 0)
  said |= {
    "noise_auroc": ranking.auroc(wrong[own], found.doubt[own]),
    "noise_auroc_loss": ranking.auroc(wrong[own], found.loss[own]),
    "noise_precision": _share(wrong, own & noticed),
    "noise_recall": _share(noticed, own & wrong),
    "relabel_accuracy": _share(found.label == truth, own & changed),
    "recovered": _share(found.kept & (found.label == truth), other),
  }
  return {name: x for name, x in said.items() if np.isfinite(x)}


def _share(what: np.ndarray, among: np.ndarray) -> float:
  return float(what[among].mean()) if among.any() else float("nan")


def emptied(
  found: Verdicts, listed: web.Listed, class_names: tuple[str, ...]
) -> list[str]:
  """Classes whose web images are all dropped."""
  own = ~listed.trusted
  had = np.bincount(listed.labels[own], minlength=len(class_names))
  rest = own & found.kept
  left = np.bincount(listed.labels[rest], minlength=len(class_names))
  return [class_names[k] for k in np.flatnonzero((had > 0) & (left == 0))]
