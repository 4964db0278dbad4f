"""Applies the interventions of a file, without a browser."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from protojax.csv_files import Writer
from protojax.data.source import Source
from protojax.interact import saved
from protojax.interact.answers import Model
from protojax.interact.intervention import Intervention, nearest, parse
from protojax.types import UserError
from protojax.writing import json_text

_COLUMNS = (
  "image",
  "class_before",
  "probability_before",
  "class_after",
  "probability_after",
  "changed",
)


def read(
  path: Path, source: Source, concept_names: Sequence[str]
) -> list[tuple[int, Intervention]]:
  """Positions of images and their interventions, in the order of the file.

  Args:
    path: of the file.
    source: the images that it names.
    concept_names: of the model.

  Raises:
    UserError: the file is not as `saved` describes it, or names an image that
      is not there.
  """
  positions = {source.name(i): i for i in range(len(source))}
  asked = []
  for n, one in enumerate(saved.read(path)):
    name = one["image"]
    if name not in positions:
      raise UserError(
        f"{path}, intervention {n}: no image {name!r}"
        f"{nearest(name, tuple(positions))} among the {len(positions)} that"
        " were opened; name others with --images"
      )
    index = positions[name]
    size = source[index]["image"].shape[:2]
    where = f"{path}, image {name!r}"
    asked.append((index, parse(one, concept_names, size, where)))
  return asked


def apply(
  model: Model, source: Source, asked: Iterable[tuple[int, Intervention]]
) -> Iterator[dict[str, Any]]:
  """The record of each intervention.

  Args:
    model: the model.
    source: the images.
    asked: from `read`.
  """
  for index, intervention in asked:
    image = source[index]["image"]
    before, after = model(image), model(image, intervention)
    yield saved.record(
      source.name(index), intervention, before, after, model.intervenes
    )


def write(found: Iterable[Mapping[str, Any]], file: Any, form: str) -> None:
  """Writes the records as CSV, a row for each, or as one JSON object.

  Args:
    found: from `apply`.
    file: to write to.
    form: "csv" or "json".
  """
  if form == "json":
    file.write(json_text({"interventions": list(found)}, indent=2) + "\n")
    return
  writer = Writer(file, lineterminator="\n")
  writer.row(_COLUMNS)
  for one in found:
    before, after = one["before"], one["after"]
    answers = (
      before["class"],
      before["probability"],
      after["class"],
      after["probability"],
    )
    changed = before["class"] != after["class"]
    writer.row((one["image"], *answers, int(changed)))
