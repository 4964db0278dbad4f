"""What TCSA-UDA is judged by: pixels, volumes, and relations of classes."""

from collections.abc import Iterator, Mapping
import functools
import math
from typing import Any, NamedTuple

from jaxtyping import Float, Int, Integer, UInt8
import numpy as np

from protojax import parallel
from protojax.data.source import origin
from protojax.datasets import slices
from protojax.datasets.slices import Slices
from protojax.methods.tcsa_uda import relations, shared
from protojax.methods.tcsa_uda.network import Network
from protojax.metrics import segmentation, surfaces
from protojax.metrics.segmentation import Counts
from protojax.metrics.surfaces import Agreement
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


def of_volumes(network: Network, state: State, data: Any) -> dict[str, Any]:
  """Scores of whole volumes, at their own size and spacing; see `surfaces`.

  Of a single volume, blocks of its slices stand for volumes. Nothing if the
  images are no slices.

  Returns:
    "volumes": means of structures; "by_volume": each volume's structures.
  """
  source, _ = origin(data.source)
  if not isinstance(source, Slices):
    return {}
  names, found = network.class_names, []
  rows = []
  for volume in answered(network, state, data, source):
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
  network: Network, state: State, data: Any, source: Slices
) -> Iterator[Volume]:
  """Each volume or block of a stream.

  Args:
    network: of the state.
    state: of the model.
    data: all slices of the source, in its order.
    source: of the slices.
  """
  planes: dict[int, list[tuple[Any, ...]]] = {}
  step = functools.partial(_answers, network)
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


def _answers(network: Network, state: State, batch: Batch) -> Array:
  return network.answers(state, batch)["classes"]


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
