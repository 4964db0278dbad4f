"""How well a concept model finds classes, concepts, and their places.

A value that is not defined, such as the AUROC of a concept that every image
shows, is left out of a mean, not counted as zero; a mean of no values is nan.
"""

from collections.abc import Callable, Mapping

from jaxtyping import Bool, Float, Int
import numpy as np
import optax

from protojax.data import concepts
from protojax.data.places import holds
from protojax.data.resizing import SQUASH, Frame
from protojax.data.source import Source
from protojax.metrics import ranking
from protojax.types import ArrayLike


def whole(i: int) -> Frame:
  """What a network sees of images that are squashed."""
  del i
  return SQUASH.frame((1, 1), 1)


def measure(
  source: Source,
  found: Mapping[str, np.ndarray],
  grid: tuple[int, int],
  frame: Callable[[int], Frame] = whole,
) -> dict[str, float]:
  """All metrics of a concept model over a source, without undefined ones.

  Args:
    source: the images.
    found: of each image, in order: "logits" [n k], "concept_logits" [n c], and
      the cell of each concept: "best_cells" by its prototypes and "map_cells"
      by the concept head, both [n c].
    grid: rows and columns of the cells.
    frame: what the network sees of each image.

  Returns:
    "accuracy", "macro_f1", "cross_entropy", "concept_auc", "concept_f1",
    "pointing" (of prototypes) and "map_pointing" (of the concept head).
  """
  labels, logits = source.labels, found["logits"]
  present, answers = concepts.present(source), logits.argmax(axis=1)
  entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  measured = {
    "accuracy": float(np.mean(answers == labels)),
    "macro_f1": macro_f1(labels, answers),
    "cross_entropy": float(np.mean(entropy)),
    "concept_auc": concept_auc(present, found["concept_logits"]),
    "concept_f1": concept_f1(present, found["concept_logits"]),
    "pointing": pointing(source, found["best_cells"], grid, frame),
    "map_pointing": pointing(source, found["map_cells"], grid, frame),
  }
  return {name: x for name, x in measured.items() if not np.isnan(x)}


def pointing(
  source: Source,
  cells: Int[ArrayLike, "n c"],
  grid: tuple[int, int],
  frame: Callable[[int], Frame] = whole,
) -> float:
  """The pointing game (Zhang et al., 1608.00507), as CSR plays it.

  The share of all pairs (image, concept in it) whose cell has its centre in a
  box of the concept; nan if places are not known.
  """
  hits, columns = [], grid[1]
  for i, concept in np.argwhere(concepts.present(source)).tolist():
    places = concepts.places(source, i)
    if places is None:
      return float("nan")
    cell = np.array(divmod(int(cells[i, concept]), columns))
    y, x = frame(i).in_image((cell + 0.5) / grid)
    hits.append(float(holds(places.of(concept), y, x)))
  return _mean(hits)


def macro_f1(
  labels: Int[ArrayLike, " n"], answers: Int[ArrayLike, " n"]
) -> float:
  """F1 of each class that occurs among the labels, mean over the classes."""
  labels, answers = np.asarray(labels), np.asarray(answers)
  return _mean([_f1(labels == k, answers == k) for k in np.unique(labels)])


def concept_f1(
  present: Bool[ArrayLike, "n c"], logits: Float[ArrayLike, "n c"]
) -> float:
  """F1 of each concept at probability one half, mean over the concepts."""
  told = np.asarray(logits) > 0
  pairs = zip(np.asarray(present).T, told.T, strict=True)
  return _mean([_f1(*pair) for pair in pairs])


def concept_auc(
  present: Bool[ArrayLike, "n c"], logits: Float[ArrayLike, "n c"]
) -> float:
  """AUROC of each concept, mean over the concepts."""
  pairs = zip(np.asarray(present).T, np.asarray(logits).T, strict=True)
  return _mean([ranking.auroc(*pair) for pair in pairs])


def _f1(truth: Bool[np.ndarray, " n"], told: Bool[np.ndarray, " n"]) -> float:
  both, either = np.sum(truth & told), np.sum(truth) + np.sum(told)
  return float(2 * both / either) if either else float("nan")


def _mean(values: list[float]) -> float:
  defined = [value for value in values if not np.isnan(value)]
  return float(np.mean(defined)) if defined else float("nan")
