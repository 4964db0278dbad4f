"""What PEM is judged by: classes of pixels, and segments."""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.methods.pem import segments as segments_lib
from protojax.methods.pem.network import Network
from protojax.metrics import panoptic, segmentation
from protojax.types import Array, Batch, Metrics, PyTree, State


class Counts(NamedTuple):
  """Of a set.

  Attributes:
    pixels: by class and answer.
    segments: by class; None unless panoptic.
  """

  pixels: segmentation.Counts
  segments: panoptic.Counts | None


def counts(network: Network, state: State, data: Any) -> Counts:
  """Pixels and segments of a whole set."""
  classes = len(network.class_names)
  pixels, found = segmentation.nothing(classes), panoptic.nothing(classes)
  step = functools.partial(_step, network)
  for batch, rows in parallel.each(step, state, data.batches()):
    valid = batch["valid"]

    def taken(kind: Any, rows: Any = rows, valid: Any = valid) -> Any:
      return kind(*(rows[name][valid] for name in kind._fields))

    pixels = segmentation.added(pixels, taken(segmentation.Counts))
    if network.panoptic:
      found = panoptic.added(found, taken(panoptic.Counts))
  return Counts(pixels, found if network.panoptic else None)


def _step(network: Network, state: State, batch: Batch) -> dict[str, Array]:
  """Counts of each image."""
  classes = len(network.class_names)
  sides = batch["image"].shape[1:3]
  found = network.seen(state, batch["image"])
  answers = network.classes(found, sides)
  if not network.panoptic:
    return segmentation.count(answers, batch["mask"], classes)._asdict()
  truth = segments_lib.of_instances(batch["segments"])
  mask = segments_lib.classes_of(truth)
  pixels = segmentation.count(answers, mask, classes)._asdict()
  said = network.segments(state, found, sides)
  own = jnp.arange(network.decoder.queries) == said.merged
  planes = panoptic.Planes(said.plane - 1, said.classes, own)
  right = panoptic.count(
    planes, panoptic.Planes(*truth), classes, batch.get("crowd")
  )
  return {**pixels, **right._asdict()}


def scores(found: Counts, things: Any) -> Metrics:
  """Metrics of a set.

  Args:
    found: its counts.
    things: classes of objects.
  """
  pixels = segmentation.scores(found.pixels)
  if found.segments is None:
    return pixels
  return {**pixels, **panoptic.scores(found.segments, np.asarray(things))}


def of_classes(
  names: tuple[str, ...], found: Counts
) -> list[dict[str, PyTree]]:
  """Name, IoU and pixels of each class, and its qualities, for a summary."""
  iou, pixels = segmentation.iou(found.pixels.pairs), found.pixels.pairs
  rows: list[dict[str, PyTree]] = [
    {"class": name, "iou": _number(iou[k]), "pixels": int(pixels[k].sum())}
    for k, name in enumerate(names)
  ]
  if found.segments is not None:
    each = panoptic.qualities(found.segments)
    for k, row in enumerate(rows):
      row |= {
        "pq": _number(each.panoptic[k]),
        "sq": _number(each.segmentation[k]),
        "rq": _number(each.recognition[k]),
      }
  return rows


def _number(value: float) -> float | None:
  return None if np.isnan(value) else float(value)
