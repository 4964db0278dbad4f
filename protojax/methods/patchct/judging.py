"""How good the labels are, and whether their patches lie on the objects."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.methods.patchct.network import Network
from protojax.metrics import multi_label
from protojax.text import tables
from protojax.types import Array, Batch, Metrics, State

Predict = Callable[[State, Batch], Mapping[str, Array]]
_ROWS = ("probabilities", "similarities", "cells", "fused")


def rows(predict: Predict, state: State, stream: Stream) -> dict[str, Any]:
  """What is said of all images, and what is known of them.

  Returns:
    The rows of `predict` and "labels", [n k]; "boxes" and "classes", lists of
    arrays by image, if the source has boxes.
  """
  found: dict[str, Any] = {name: [] for name in (*_ROWS, "labels")}
  boxed = False
  for batch, made in parallel.each(predict, state, stream.batches()):
    valid = batch["valid"]
    for name in _ROWS:
      found[name].append(made[name][valid])
    found["labels"].append(batch["labels"][valid])
    if "boxes" in batch:
      boxed = True
      for i in np.flatnonzero(valid):
        of = {name: x[i] for name, x in batch["boxes"].items()}
        found.setdefault("boxes", []).append(of["boxes"][of["valid"]])
        found.setdefault("classes", []).append(of["classes"][of["valid"]])
  joined = {name: np.concatenate(found[name]) for name in (*_ROWS, "labels")}
  own = ("boxes", "classes") if boxed else ()
  return {**joined, **{name: found[name] for name in own}}


def measure(
  network: Network, predict: Predict, state: State, stream: Stream
) -> Metrics:
  """Metrics of the labels; of their places, if there are boxes.

  "map_fused" is of the fusion score. "pointing" is the share of an image's
  labels whose best patch, the largest of the backward plan, has its centre in a
  box of the label, "pointing_chance" that of all patches. "label_cosine" is the
  mean cosine of two label embeddings: near 1 they have collapsed.
  """
  found = rows(predict, state, stream)
  truths = found["labels"]
  metrics = multi_label.measure(found["probabilities"], truths)
  metrics["map_fused"] = multi_label.mean_average_precision(
    found["fused"], truths
  )
  vectors = network.bank(state).vectors
  vectors = np.asarray(jax.device_get(vectors)).reshape(len(vectors), -1)
  metrics["label_cosine"] = float(tables.mean_cosine(vectors))
  if "boxes" in found:
    metrics |= _pointing(found, network.grid)
  return {name: x for name, x in metrics.items() if np.isfinite(x)}


def chosen(metrics: Metrics) -> Metrics:
  """mAP, that of the fusion score, and pointing."""
  names = ("map", "map_fused", "pointing", "label_cosine")
  return {name: metrics[name] for name in names if name in metrics}


def centres(grid: tuple[int, int]) -> np.ndarray:
  """The centres of cells, row-major: (y, x) in shares of the image."""
  height, width = grid
  y, x = np.divmod(np.arange(height * width), width)
  return np.stack([(y + 0.5) / height, (x + 0.5) / width], axis=1)


def _pointing(found: Mapping[str, Any], grid: tuple[int, int]) -> Metrics:
  places = centres(grid)
  judged = []
  for labels, cells, boxes, classes in zip(
    *(found[name] for name in ("labels", "cells", "boxes", "classes")),
    strict=True,
  ):
    there = np.flatnonzero(labels == 1)
    judged += multi_label.pointing(places[cells], places, boxes, classes, there)
  if not judged:
    return {}
  hits, chances = np.mean(judged, axis=0)
  return {"pointing": float(hits), "pointing_chance": float(chances)}


def of_labels(
  names: Sequence[str], found: Mapping[str, Any]
) -> dict[str, dict[str, float | int]]:
  """Images and average precision of each label; of one without images none."""
  each = multi_label.average_precisions(found["probabilities"], found["labels"])
  counts = (found["labels"] == 1).sum(axis=0)
  return {
    name: {
      "images": int(count),
      **({"ap": float(ap)} if np.isfinite(ap) else {}),
    }
    for name, count, ap in zip(names, counts, each, strict=True)
  }
