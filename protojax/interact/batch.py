"""Interventions of a file, applied without a browser."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import csv
import json
from pathlib import Path
from typing import Any

from protojax.data.sources import Source
from protojax.interact import records
from protojax.interact.answers import Model
from protojax.interact.intervention import nearest, parse
from protojax.types import UserError

_COLUMNS = (
  "image",
  "class_before",
  "probability_before",
  "class_after",
  "probability_after",
  "changed",
)


def apply(model: Model, source: Source, path: Path) -> Iterator[dict[str, Any]]:
  """The record of each intervention of a file, in its order.

  Args:
    model: what is asked.
    source: the images that the file names.
    path: of the file.

  Raises:
    UserError: the file is not as `records` describes it, or names an image that
      is not there. All of it is checked before the model is asked.
  """
  method, asked = model.method, []
  for n, one in enumerate(records.read(path)):
    index = _position(one["image"], source, f"{path}, intervention {n}")
    size = source[index]["image"].shape[:2]
    where = f"{path}, image {one['image']!r}"
    asked.append((index, parse(one, method.concept_names, size, where)))
  for index, intervention in asked:
    image = source[index]["image"]
    before, after = model(image), model(image, intervention)
    yield records.record(
      source.name(index), intervention, before, after, method
    )


def write(found: Iterable[Mapping[str, Any]], file: Any, form: str) -> None:
  """Writes the records as CSV, a row each, or as JSON, whole.

  Args:
    found: from `apply`.
    file: to write to.
    form: "csv" or "json".
  """
  if form == "json":
    json.dump({"interventions": list(found)}, file, indent=2)
    file.write("\n")
    return
  writer = csv.writer(file, lineterminator="\n")
  writer.writerow(_COLUMNS)
  for one in found:
    before, after = one["before"], one["after"]
    answers = (
      before["class"],
      before["probability"],
      after["class"],
      after["probability"],
    )
    changed = before["class"] != after["class"]
    writer.writerow((one["image"], *answers, int(changed)))


def _position(name: str, source: Source, where: str) -> int:
  names = _names(source)
  if name not in names:
    known: Sequence[str] = tuple(names)
    raise UserError(
      f"{where}: no image {name!r}{nearest(name, known)} among the"
      f" {len(known)} that were opened; name others with --images"
    )
  return names[name]


def _names(source: Source) -> dict[str, int]:
  return {source.name(i): i for i in range(len(source))}
