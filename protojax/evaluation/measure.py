"""All metrics of a trained model and of its explanations.

One function for all methods, which needs an `Explainable` network. A metric
that the data or the network do not allow is absent.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
import statistics
from typing import Any, NamedTuple

from ml_collections import ConfigDict
import numpy as np

from protojax import loading, printing
from protojax.data import stream as stream_lib
from protojax.datasets import files
from protojax.evaluation import decisions, explanations, recipes
from protojax.explain import familiarity
from protojax.methods.base import able
from protojax.metrics.means import Mean
from protojax.types import State

# Number of images whose heat maps are measured; deletion and insertion take 58
# forward passes for each.
IMAGES = 100


class Figure(NamedTuple):
  """How a table shows a metric.

  Attributes:
    title: of the metric.
    better: "higher", "lower", or "" if neither is.
  """

  title: str
  better: str


# Of methods that give images several labels.
_TAGGED = {
  "map": Figure("mAP", "higher"),
  "map_fused": Figure("mAP of the fusion score", "higher"),
  **{
    f"{name}{end}": Figure(f"{name.upper()}{words}", "higher")
    for end, words in (("", ""), ("_top3", ", three labels each"))
    for name in ("cp", "cr", "cf1", "op", "or", "of1")
  },
  "pointing": Figure("best patches in a box of their label", "higher"),
  "pointing_chance": Figure("the same of all patches (chance)", ""),
}
# Of methods that tell generated images from real ones.
_DETECTED = {
  "accuracy_held_out": Figure("accuracy at the threshold chosen", "higher"),
  "ap": Figure("average precision", "higher"),
  "worst_generator": Figure("accuracy, worst generator", "higher"),
  "generator_mean": Figure("accuracy, mean over generators", "higher"),
  "real_accuracy": Figure("accuracy on real images", "higher"),
  "generated_accuracy": Figure("accuracy on generated images", "higher"),
}
# Of methods that give each pixel a class.
_SEGMENTED = {
  "miou": Figure("mean IoU of the classes", "higher"),
  "boundary_iou": Figure("the same along boundaries", "higher"),
  "pixel_accuracy": Figure("share of pixels that are right", "higher"),
  "class_accuracy": Figure("the same, mean over the classes", "higher"),
  "pq": Figure("panoptic quality", "higher"),
  "sq": Figure("its part of segmentation", "higher"),
  "rq": Figure("its part of recognition", "higher"),
  "shared_tops": Figure("IoU of the cells most like two of a class", "lower"),
  "used_per_class": Figure("prototypes in use for a class", "lower"),
  "prototypes_per_group": Figure("prototypes of a group", "lower"),
}
# Of methods that find objects.
_LOCATED = {
  f"ap_{view}{end}": Figure(f"AP {view}{words}", "higher")
  for end, words in (("", ""), ("_shifted", ", conditions but clear"))
  for view in ("2d", "bev", "3d")
}
FIGURES = {
  **_TAGGED,
  **_LOCATED,
  **_SEGMENTED,
  "accuracy": Figure("accuracy", "higher"),
  **_DETECTED,
  "calibration_error": Figure("calibration error (ECE)", "lower"),
  "outlier_auroc": Figure("outliers: AUROC of the largest logit", "higher"),
  "outlier_auroc_best": Figure(
    "outliers: AUROC of the best similarity", "higher"
  ),
  "abstention": Figure("outliers refused, 95 % of the others kept", "higher"),
  "unfamiliar": Figure("test images called unfamiliar", "lower"),
  "unfamiliar_outliers": Figure("outliers called unfamiliar", "higher"),
  "global_size": Figure("prototypes in use", "lower"),
  "local_size": Figure("prototypes with a point, an image", "lower"),
  "prediction_size": Figure("the same for the predicted class", "lower"),
  "prediction_sparsity": Figure("prototypes for 90 % of its points", "lower"),
  "sparsity": Figure("share of weights that are 0", "higher"),
  "uniqueness": Figure("share of unique prototypes", "higher"),
  "deletion": Figure("deletion, area", "lower"),
  "insertion": Figure("insertion, area", "higher"),
  "max_sensitivity": Figure("heat moved by noise (max-sensitivity)", "lower"),
  "road": Figure("class kept, hottest pixels filled in (ROAD)", "lower"),
  "mprt": Figure("heat alike with random parameters (MPRT)", "lower"),
  "drop_focus": Figure("similarity lost, changed where hot", "higher"),
  "drop_dual": Figure("similarity lost, changed elsewhere", "lower"),
  "same_cells": Figure("same cell under noise", "higher"),
  "content": Figure("heat on the object (CH)", "higher"),
  "outside_inside": Figure("heat off over on the object (OIRR)", "lower"),
  "overlap": Figure("IoU of heat and object", "higher"),
  "energy": Figure("pointing game, energy", "higher"),
  "relevance": Figure("pointing game, hottest tenth", "higher"),
  "hits": Figure("pointing game, hottest pixel", "higher"),
  "coverage": Figure("the object's share (chance of the three)", ""),
  "consistency": Figure("consistency", "higher"),
  "stability": Figure("stability", "higher"),
  "purity": Figure("part purity", "higher"),
}


def measure(
  folder: Path,
  outliers: str = "",
  images: int = IMAGES,
  by_branch: bool = False,
  own_size: bool = False,
  sanity: bool = False,
) -> dict[str, Mean]:
  """All metrics of a finished run that apply, by name, over its test images.

  Of a method that gives several labels or boxes, or that classifies without
  comparing patches with prototypes, they are those of its `evaluate`; of the
  last also how its largest logit tells outliers. Of one that gives each pixel a
  class they are those of its `summary`.

  Args:
    folder: of the run.
    outliers: a folder of images of no class; '' for none.
    images: number of images whose heat maps are measured.
    by_branch: see `explanations.measure`.
    own_size: see `explanations.measure`.
    sanity: see `explanations.measure`.

  Raises:
    UserError: no run, a method without prototypes, or no such images; or its
      prototypes are no patches, and have no heat to check.
  """
  method, state, config = loading.load(folder)
  if sanity:
    recipes.explainable(method)
  if able(method, "segments") is not None:
    return _segmented(folder, method, state, config)
  explains = able(method, "explains")
  alone = explains is not None and explains.network is None
  classifies = able(method, "classifies") is not None
  listed = any(able(method, name) for name in ("tags", "localises"))
  if listed or (alone and classifies):
    with loading.described_by(folder, config):
      stream = method.stream("test")
    found = _means(method.evaluate(state, "test"), FIGURES, len(stream))
    if outliers and classifies:
      others = _opened(outliers, config)
      known = familiarity.read(folder)
      found |= decisions.apart(method.predict, state, stream, others, known)
    return found
  model = recipes.explainable(method)
  if not np.any(model.bank(state).alive):
    printing.tell(
      f"note: all prototypes of {folder} were pruned; its figures are those of"
      " one answer to all images"
    )
  with loading.described_by(folder, config):
    stream = method.stream("test")
  others = _opened(outliers, config) if outliers else None
  found = {
    **decisions.measure(model, state, stream, others, familiarity.read(folder)),
    **explanations.measure(
      model, state, stream, images, by_branch, own_size, sanity
    ),
  }
  return {name: found[name] for name in FIGURES if name in found}


def _opened(folder: str, config: ConfigDict) -> stream_lib.Stream:
  """Images of no class, as the images of the run are."""
  source = files.images(folder)
  batch = loading.batch_size(config, len(source))
  size, resizing = loading.image_size(config), loading.resizing(config)
  return stream_lib.ordered(source, size, batch, resizing=resizing)


def _segmented(
  folder: Path, method: Any, state: State, config: ConfigDict
) -> dict[str, Mean]:
  """Metrics of classes of pixels, and of the prototypes behind them."""
  with loading.described_by(folder, config):
    count = len(method.stream("test"))
  stage = {"id": "evaluate", "metrics": method.evaluate(state, "test")}
  names = (*_SEGMENTED, "consistency", "stability")
  return _means(method.summary(state, [stage]), names, count)


def _means(
  metrics: Mapping[str, Any], names: Iterable[str], count: int
) -> dict[str, Mean]:
  """Metrics of so many images, those that have one of the names."""
  return {
    name: Mean(*(np.asarray(n) for n in (np.float32(metrics[name]), count, 0)))
    for name in names
    if metrics.get(name) is not None
  }


def over_seeds(
  measured: Sequence[dict[str, Mean]],
) -> dict[str, dict[str, Any]]:
  """Metric -> its entry in the JSON file.

  Returns:
    "mean" and "std" (of a sample: over n - 1; None for a single seed) over the
    n seeds for which the metric is defined; "left_out", the share of the cases
    in which it is not. A metric that no seed has is absent.
  """
  told = {}
  for name in FIGURES:
    rows = [row[name] for row in measured if name in row]
    values = [float(row.value) for row in rows if int(row.count)]
    if values:
      cases = sum(int(row.count) + int(row.left_out) for row in rows)
      told[name] = {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
        "left_out": sum(int(row.left_out) for row in rows) / cases,
      }
  return told
