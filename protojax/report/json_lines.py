"""Explanations for other programs: one JSON object a line, as they come.

`explanations.jsonl` holds what the report shows in words and pictures, all of
it in numbers. Every object has a "kind"; a box is [top, left, bottom, right]
in pixels of the network's input, bottom and right excluded; a score that is
not known is null. Maps are by modification ("hue", ...) or by split.

kind "run":
  title, version
  accuracy: name of a figure -> 0 to 1
  strengths: parameters of the modifications
kind "image":
  image, index, split, label: label is null where unknown
  answers: [{class, logit, probability, bias}], by falling logit
  evidence: [{prototype, class, similarity, score, weight, points,
    runner_up_weight, cell, because: {modification: phi_local}, box, field,
    misleading}]; class is the concept of a prototype that belongs to one
  others, other_points: prototypes without a row, and their points
kind "prototype":
  prototype, class, alive, weight, speaks_for, duplicate_of, redundant_with,
  stale, misleading, notes: {name: what the method says of it}
  patch: {image, index, cell, box, field} or null
  because, without_source: {split: {scores: {modification: phi_global},
    intervals: {modification: [low, high]}, relative, distance, similarity,
    images}}
  nearest: {split: [{image, index, label, similarity, cell, box, misleading}]}
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import json
import math
from pathlib import Path
from typing import Any

from protojax.explain.evidence import (
  Evidence,
  GlobalExplanation,
  GlobalScores,
  LocalExplanation,
  Neighbour,
)
from protojax.report import page
from protojax.writing import replacing

Record = Mapping[str, Any]


@contextlib.contextmanager
def lines(path: Path) -> Iterator[Callable[[Record], None]]:
  """Opens `explanations.jsonl`; give its records to `add` as they come.

  Raises:
    UserError: there is no room, or no right to write.
  """
  with replacing(path) as file:

    def add(record: Record) -> None:
      json.dump(_known(record), file, allow_nan=False)
      file.write("\n")

    yield add


def of_run(run: page.Run) -> Record:
  """What the explanations are of."""
  return {
    "kind": "run",
    "title": run.title,
    "version": run.version,
    "accuracy": run.accuracy,
    "strengths": run.strengths,
  }


def of_image(e: LocalExplanation) -> Record:
  """Why an image got its class."""
  return {
    "kind": "image",
    "image": e.image,
    "index": e.index,
    "split": e.split,
    "label": e.label,
    "answers": [
      {
        "class": a.class_name,
        "logit": a.logit,
        "probability": a.probability,
        "bias": a.bias,
      }
      for a in e.answers
    ],
    "evidence": [_row(row) for row in e.evidence],
    "others": e.others,
    "other_points": e.other_points,
  }


def of_prototype(e: GlobalExplanation) -> Record:
  """What a prototype stands for."""
  return {
    "kind": "prototype",
    "prototype": e.prototype,
    "class": e.group,
    "alive": e.alive,
    "weight": e.weight,
    "speaks_for": e.speaks_for,
    "duplicate_of": e.duplicate_of,
    "redundant_with": e.redundant_with,
    "stale": e.stale,
    "misleading": e.misleading,
    "notes": e.notes,
    "patch": e.patch
    and {
      "image": e.patch.image,
      "index": e.patch.index,
      "cell": e.patch.cell,
      "box": e.patch.box,
      "field": e.patch.field,
    },
    "because": {k: _because(b) for k, b in e.because.items()},
    "without_source": {k: _because(b) for k, b in e.without_own.items()},
    "nearest": {
      split: [_neighbour(n) for n in found]
      for split, found in e.nearest.items()
    },
  }


def _row(row: Evidence) -> Record:
  return {
    "prototype": row.prototype,
    "class": row.group,
    "similarity": row.similarity,
    "score": row.score,
    "weight": row.weight,
    "points": row.points,
    "runner_up_weight": row.runner_up_weight,
    "cell": row.cell,
    "because": row.because,
    "box": row.box,
    "field": row.field,
    "misleading": row.misleading,
  }


def _because(because: GlobalScores) -> Record:
  return {
    "scores": because.scores,
    "intervals": because.intervals,
    "relative": because.relative,
    "distance": because.distance,
    "similarity": because.similarity,
    "images": because.images,
  }


def _neighbour(n: Neighbour) -> Record:
  return {
    "image": n.image,
    "index": n.index,
    "label": n.label,
    "similarity": n.similarity,
    "cell": n.cell,
    "box": n.box,
    "misleading": n.misleading,
  }


def _known(value: Any) -> Any:
  """The same without nan and infinities, which JSON does not have."""
  if isinstance(value, Mapping):
    return {name: _known(inner) for name, inner in value.items()}
  if isinstance(value, list | tuple):
    return [_known(inner) for inner in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
