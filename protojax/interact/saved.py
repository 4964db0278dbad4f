"""Records of interventions and of their effect, and files of records.

  {"interventions": [{"image": NAME, ..., "before": {...}, "after": {...}}]}

is the file that the page saves and `--boxes` reads; the latter ignores "before"
and "after".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protojax import json_files
from protojax.engine import workdir
from protojax.interact.answers import Answer
from protojax.interact.intervention import Intervention, mapping, sequence
from protojax.types import UserError

_KEY = "interventions"


def record(
  image: str,
  intervention: Intervention,
  before: Answer,
  after: Answer,
  intervenes: Any,
) -> dict[str, Any]:
  """The record of an intervention.

  Args:
    image: name of the image.
    intervention: the intervention.
    before: the answer without it.
    after: the answer with it.
    intervenes: names the classes and the concepts; see `base.Intervenes`.
  """
  return {
    "image": image,
    **intervention.as_json(),
    "before": described(before, intervenes),
    "after": described(after, intervenes),
  }


def described(answer: Answer, intervenes: Any) -> dict[str, Any]:
  """An answer as JSON: the class, and the share of each concept in it."""
  names, k = intervenes.class_names, answer.predicted
  return {
    "class": names[k],
    "probability": number(answer.probabilities[k]),
    "margin": number(answer.margin),
    "probabilities": dict(
      zip(names, map(number, answer.probabilities), strict=True)
    ),
    "concepts": {
      name: {"score": number(score), "contribution": number(contribution)}
      for name, score, contribution in zip(
        intervenes.concept_names,
        answer.concept_scores,
        answer.contributions,
        strict=True,
      )
    },
  }


def number(value: float | np.floating) -> float:
  """The value, rounded to the digits of a float32."""
  return float(f"{value:.8g}")


def read(path: Path) -> list[Mapping[str, Any]]:
  """The records of a file, each with the name of an image.

  `intervention.parse` reads the rest of a record.

  Raises:
    UserError: the file cannot be read, or is not as described above.
  """
  content = json_files.read_json(path, dict[str, Any])
  if set(content) != {_KEY}:
    raise UserError(
      f"{path} has the keys {', '.join(map(repr, content)) or '(none)'}; it"
      f' must have "{_KEY}", a list, alone'
    )
  records = []
  for n, one in enumerate(sequence(content[_KEY], f"{path}: {_KEY}")):
    one = mapping(one, f"{path}: {_KEY}[{n}]")
    if not isinstance(one.get("image"), str):
      raise UserError(
        f'{path}: {_KEY}[{n}] does not say of which "image" it is'
      )
    records.append(one)
  return records


def write(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
  """Writes a file for `read`; readers see the old file or the new one.

  Raises:
    UserError: there is no room, or no right to write.
  """
  workdir.write_json(path, {_KEY: list(records)})
