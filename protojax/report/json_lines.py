"""Explanations for other programs: `explanations.jsonl`, one object a line.

The file holds in numbers what the report shows in words and pictures. Every
object has a "kind". A box is [top, left, bottom, right] in pixels of the
network's input, bottom and right excluded. An unknown score is null. The keys
of a mapping are modifications ("hue", ...) or splits.

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
  Answer,
  Evidence,
  GlobalExplanation,
  GlobalScores,
  LocalExplanation,
  Neighbour,
  Patch,
)
from protojax.report.page import Run
from protojax.writing import replacing

Explained = Run | LocalExplanation | GlobalExplanation

_KINDS = {Run: "run", LocalExplanation: "image", GlobalExplanation: "prototype"}

# Keys of each object in their order; KEY=FIELD where the names differ.
_KEYS: Mapping[type, str] = {
  Run: "title version accuracy strengths",
  LocalExplanation: (
    "image index split label answers evidence others other_points"
  ),
  Answer: "class=class_name logit probability bias",
  Evidence: (
    "prototype class=group similarity score weight points runner_up_weight"
    " cell because box field misleading"
  ),
  GlobalExplanation: (
    "prototype class=group alive weight speaks_for duplicate_of redundant_with"
    " stale misleading notes patch because without_source=without_own nearest"
  ),
  Patch: "image index cell box field",
  GlobalScores: "scores intervals relative distance similarity images",
  Neighbour: "image index label similarity cell box misleading",
}


@contextlib.contextmanager
def lines(path: Path) -> Iterator[Callable[[Explained], None]]:
  """Opens `explanations.jsonl`; gives a function that adds one line.

  Raises:
    UserError: there is no room, or no right to write.
  """
  with replacing(path) as file:

    def add(explained: Explained) -> None:
      record = {"kind": _KINDS[type(explained)], **_plain(explained)}
      json.dump(record, file, allow_nan=False)
      file.write("\n")

    yield add


def _plain(value: Any) -> Any:
  """A value in types that JSON has; null for nan and infinities."""
  if keys := _KEYS.get(type(value)):
    pairs = (key.partition("=") for key in keys.split())
    return {key: _plain(getattr(value, name or key)) for key, _, name in pairs}
  if isinstance(value, Mapping):
    return {name: _plain(inner) for name, inner in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(inner) for inner in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
