"""What TCSA-UDA is judged by: pixels, and relations of classes."""

from collections.abc import Mapping
import functools
import math
from typing import Any

from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.methods.tcsa_uda import relations, shared
from protojax.methods.tcsa_uda.network import Network
from protojax.metrics import segmentation
from protojax.metrics.segmentation import Counts
from protojax.types import Array, ArrayLike, Batch, Metrics, State


def measure(network: Network, state: State, data: Any) -> Metrics:
  """ "dice", the mean over all classes but the first, and scores of pixels.

  Dice is that of all pixels of the set at the network's size, of classes that
  occur or are answered.
  """
  counts = counted(network, state, data)
  dice = dices(counts.pairs)[1:]
  known = dice[~np.isnan(dice)]
  found = dict(segmentation.scores(counts))
  return {"dice": float(known.mean()) if len(known) else math.nan, **found}


def counted(network: Network, state: State, data: Any) -> Counts:
  """Pixels by class and answer of a whole set."""
  total = segmentation.nothing(network.classes)
  step = functools.partial(_counts, network)
  for batch, rows in parallel.each(step, state, data.batches()):
    valid = batch["valid"]
    some = Counts(*(rows[name][valid] for name in Counts._fields))
    total = segmentation.added(total, some)
  return total


def _counts(network: Network, state: State, batch: Batch) -> dict[str, Array]:
  answers = network.answers(state, batch)["classes"]
  count = segmentation.count(answers, batch["mask"], network.classes)
  return count._asdict()


def dices(pairs: Int[ArrayLike, "k k"]) -> Float[np.ndarray, " k"]:
  """Dice of each class; nan where it is in no pixel."""
  iou = segmentation.iou(pairs)
  return 2 * iou / (1 + iou)


def of_centres(state: State) -> dict[str, float]:
  """ "centres": L_proto at the end of training; nothing without any."""
  history = np.asarray(state.memory["history"])
  known = np.flatnonzero((history >= 0).any(axis=1))
  if not len(known):
    return {}
  return {"centres": float(np.maximum(history[known[-1]], 0).sum())}


def of_relations(
  network: Network, state: State, data: Any, words: Float[np.ndarray, "k k"]
) -> Mapping[str, Any]:
  """How the classes' features relate, beside their words.

  Args:
    network: of the state.
    state: of the model.
    data: images with labels.
    words: relations of the classes' words.

  Returns:
    "relation": the correlation of both, over pairs of classes that occur; the
    means are those of the true classes of cells. Nothing with fewer than three.
  """
  sums, counts = shared.of_stream(network, state, data, directed=False)
  there = counts > 0
  if there.sum() < 3:
    return {}
  means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
  found = relations.correlations(means)
  apart = relations.distance(found, words, there, "relation")
  return {"relation": 1 - float(apart)}
