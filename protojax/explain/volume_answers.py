"""Answers to whole volumes: put together from slices, and scored in mm.

A method answers slice by slice. Here the answers become volumes again, at their
own size and spacing. Of a single volume, blocks of its slices stand for
volumes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
import math
from typing import Any, NamedTuple

from jaxtyping import Integer, UInt8
import numpy as np

from protojax import parallel
from protojax.data.source import origin
from protojax.datasets import slices
from protojax.datasets.slices import Slices
from protojax.explain import blocks
from protojax.metrics import surfaces
from protojax.metrics.surfaces import Agreement
from protojax.types import Array, Batch, State

# (state, batch) -> "classes" [b H W] of the pixels.
Answers = Callable[[State, Batch], Mapping[str, Array]]

_COLUMNS = (
  *("volume", "structure", "Dice", "IoU", "surface", "HD95"),
  "missed",
)


def scores(
  answers: Answers, names: Sequence[str], state: State, data: Any
) -> dict[str, Any]:
  """Scores of whole volumes, at their own size and spacing; see `surfaces`.

  Nothing if the images are no slices.

  Args:
    answers: of the network.
    names: of the classes; the first is no structure.
    state: of the model.
    data: labelled images in the order of their source.

  Returns:
    "volumes": means of structures; "by_volume": each volume's structures.
  """
  source, _ = origin(data.source)
  if not isinstance(source, Slices):
    return {}
  found, rows = [], []
  for volume in answered(answers, state, data, source):
    each = surfaces.of_volume(
      volume.answer,
      volume.truth,
      range(1, len(names)),
      volume.spacing,
      slices.VOID,
    )
    found.append(each)
    rows += [
      {"volume": volume.name, "structure": names[k], **_said(agreement)}
      for k, agreement in each.items()
    ]
  means = surfaces.summary(found, names)
  return {
    "volumes": {key: _number(x) for key, x in means.items()},
    "by_volume": rows,
  }


def table(found: Mapping[str, Any]) -> blocks.Table:
  """What `scores` found of each structure of each volume."""
  rows = tuple(tuple(row.values()) for row in found["by_volume"])
  return blocks.Table(
    _COLUMNS, rows, "Structures of each volume, distances in mm"
  )


class Volume(NamedTuple):
  """A volume, or a block of slices of one, and what is answered of it.

  Attributes:
    name: of the volume, with the slices of a block.
    numbers: of its slices.
    spacing: sides of a voxel in millimetres.
    grey: what the network saw, at the volume's own size.
    answer: class of each voxel.
    truth: class of each voxel; `slices.VOID` is not known.
  """

  name: str
  numbers: tuple[int, ...]
  spacing: tuple[float, float, float]
  grey: UInt8[np.ndarray, "x y z"]
  answer: Integer[np.ndarray, "x y z"]
  truth: Integer[np.ndarray, "x y z"]


def answered(
  answers: Answers, state: State, data: Any, source: Slices
) -> Iterator[Volume]:
  """Each volume or block of a stream.

  Args:
    answers: of the network.
    state: of the model.
    data: all slices of the source, in its order.
    source: of the slices.
  """
  planes: dict[int, list[tuple[Any, ...]]] = {}
  step = functools.partial(_classes, answers)
  for batch, rows in parallel.each(step, state, data.batches()):
    for i in np.flatnonzero(batch["valid"]):
      index = int(batch["index"][i])
      example = source[index]
      frame = data.resizing.frame(example["image"].shape, data.image_size)
      answer = frame.at_own_size(rows[i], example["image"].shape, slices.VOID)
      number = source.places[index].number
      plane = number, example["image"][..., 0], answer, example["mask"]
      planes.setdefault(int(source.groups[index]), []).append(plane)
  for group, found in planes.items():
    found.sort(key=lambda plane: plane[0])
    numbers = tuple(plane[0] for plane in found)
    first = int(np.flatnonzero(source.groups == group)[0])
    study = source.places[first].study
    name = source.studies[study].name
    if len(source.studies) == 1:
      name = f"{name}, slices {numbers[0]}-{numbers[-1]}"
    each = (
      slices.stacked(np.stack([plane[n] for plane in found]), source.axis)
      for n in (1, 2, 3)
    )
    yield Volume(name, numbers, source.spacing(study), *each)


def _classes(answers: Answers, state: State, batch: Batch) -> Array:
  return answers(state, batch)["classes"]


def _said(agreement: Agreement) -> dict[str, Any]:
  return {
    "dice": _number(agreement.dice),
    "iou": _number(agreement.iou),
    "surface_mm": _number(agreement.surface),
    "hd95_mm": _number(agreement.hd95),
    "missed": agreement.missed,
  }


def _number(value: float | int) -> float | None:
  """None for a number that there is not: JSON has none."""
  return None if math.isnan(value) else float(value)
