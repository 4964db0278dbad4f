"""How good the verdicts are, by generator, and how features vary."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.data.source import origin
from protojax.data.stream import Stream
from protojax.methods.gapl.diagnostics import Moments
from protojax.metrics import multi_label
from protojax.types import Array, Batch, Metrics, State

# (state, batch) -> "logit" [b], "embedding" and "mixed" [b d].
Measure = Callable[[State, Batch], Mapping[str, Array]]
# Of a source that knows no generators.
_UNKNOWN = "all"


class Judged(NamedTuple):
  """What is said of a stream, and what is true.

  Attributes:
    probabilities: that an image is generated.
    labels: 0 real, 1 generated.
    generators: number of each image's generator.
    names: of the generators.
    embedding: moments of f.
    mixed: moments of what the classifier reads.
  """

  probabilities: Float[np.ndarray, " n"]
  labels: Int[np.ndarray, " n"]
  generators: Int[np.ndarray, " n"]
  names: tuple[str, ...]
  embedding: Moments
  mixed: Moments

  def right(self, threshold: float) -> np.ndarray:
    """Whether each verdict is right; generated is above the threshold."""
    return (self.probabilities > threshold) == (self.labels == 1)

  def by_generator(self, threshold: float) -> dict[str, float]:
    """Accuracy on the images of each generator and the real ones beside."""
    right = self.right(threshold)
    return {
      self.names[number]: float(right[self.generators == number].mean())
      for number in np.unique(self.generators)
    }


def judged(
  measure: Measure, state: State, stream: Stream, channels: int
) -> Judged:
  """Verdicts over a stream.

  Args:
    measure: see `Measure`.
    state: of the model.
    stream: in source order.
    channels: d.
  """
  found: dict[str, list[np.ndarray]] = {"logit": [], "label": [], "group": []}
  moments = Moments(channels), Moments(channels)
  for batch, rows in parallel.each(measure, state, stream.batches()):
    own = batch["valid"] & (batch["label"] >= 0)
    labels = batch["label"][own]
    groups = batch.get("generator", np.zeros_like(batch["label"]))[own]
    for sums, name in zip(moments, ("embedding", "mixed"), strict=True):
      sums.add(rows[name][own], labels, groups)
    columns = rows["logit"][own].astype(np.float64), labels, groups
    for column, values in zip(found.values(), columns, strict=True):
      column.append(values)
  logit, labels, groups = (np.concatenate(rows) for rows in found.values())
  source: Any
  source, _ = origin(stream.source)
  names = getattr(source, "generator_names", (_UNKNOWN,))
  # 1 / (1 + e^-z) without overflow.
  probabilities = (1 + np.tanh(logit / 2)) / 2
  return Judged(probabilities, labels, groups, names, *moments)


def metrics(found: Judged, threshold: float) -> Metrics:
  """Metrics of verdicts.

  "accuracy" is at 0.5, "accuracy_held_out" at the threshold that was chosen on
  held-out generators; "ap" is average precision; "worst_generator" and
  "generator_mean" are of the accuracies by generator. "trace_*" are of the
  embeddings f of real and of generated images, "trace_between" the part between
  generators, "trace_mixed" of generated images behind the prototypes. As these
  mixtures have any length, "trace_mixed_relative" is over their mean squared
  length, as of f, whose length is 1. "fisher" is of f.

  Args:
    found: of `judged`.
    threshold: that was chosen.
  """
  right, real = found.right(0.5), found.labels == 0
  each = list(found.by_generator(0.5).values())
  made: dict[str, float] = {
    "accuracy": float(right.mean()),
    "accuracy_held_out": float(found.right(threshold).mean()),
    "ap": multi_label.average_precision(found.probabilities, ~real),
    "worst_generator": min(each),
    "generator_mean": float(np.mean(each)),
  }
  if real.any() and not real.all():
    f = found.embedding
    made |= {
      "real_accuracy": float(right[real].mean()),
      "generated_accuracy": float(right[~real].mean()),
      "trace_real": f.trace(0),
      "trace_generated": f.trace(1),
      "trace_between": f.between(),
      "trace_mixed": found.mixed.trace(1),
      "trace_mixed_relative": found.mixed.relative_trace(1),
      "fisher": f.fisher(),
    }
  return {name: x for name, x in made.items() if np.isfinite(x)}


def threshold(found: Judged) -> float:
  """The probability above which balanced accuracy is largest.

  Between two probabilities that were found; of several, that nearest to 0.5.
  """
  order = np.sort(np.unique(found.probabilities))
  cuts = np.concatenate([[0.0], (order[1:] + order[:-1]) / 2, [1.0], [0.5]])
  real = np.sort(found.probabilities[found.labels == 0])
  made = np.sort(found.probabilities[found.labels == 1])
  below = np.searchsorted(real, cuts, side="right") / max(len(real), 1)
  above = 1 - np.searchsorted(made, cuts, side="right") / max(len(made), 1)
  best = below + above
  chosen = cuts[best >= best.max() - 1e-12]
  return float(chosen[np.abs(chosen - 0.5).argmin()])
