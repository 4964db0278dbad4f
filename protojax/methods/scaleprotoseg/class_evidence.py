"""Evidence of classes: prototypes, groups, and how well they are found."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from protojax.data import images as images_lib
from protojax.explain import blocks, shapes
from protojax.explain.request import Request
from protojax.methods.scaleprotoseg import judging, region_evidence
from protojax.methods.scaleprotoseg import regions as regions_lib
from protojax.methods.scaleprotoseg.network import Network
from protojax.methods.scaleprotoseg.regions import Regions
from protojax.methods.scaleprotoseg.units import Unit, units_of
from protojax.metrics import segmentation
from protojax.metrics.segmentation import Counts
from protojax.types import State

# Classes that are compared in a matrix, and images in the list of the worst.
_COMPARED, _WORST = 30, 20
# Names of figures, as a reader takes them.
_WORDS = {
  "miou": "IoU (what answer and truth share of both), mean over the classes",
  "boundary_iou": "the same along boundaries",
  "pixel_accuracy": "share of pixels that are right",
  "class_accuracy": "the same, mean over the classes",
  "used": "that answers rest on",
  "used_per_class": "the same for a class, mean",
  "prototypes_per_group": "in a group, mean",
}


class Gathered:
  """What a pass over images leaves: regions, errors, and best places.

  Attributes:
    regions: of each image, by its index.
    counts: pixels by class and answer; None without masks.
    wrong: share of wrong pixels of each image; empty without masks.
  """

  def __init__(self, network: Network) -> None:
    """Nothing yet."""
    count = len(network.class_names) * network.scales * network.per_class
    self.regions: dict[int, Regions] = {}
    self.counts: Counts | None = None
    self.wrong: dict[int, float] = {}
    self.best = np.full(count, -np.inf)
    self.image = np.full(count, -1)
    self.place = np.zeros(count, int)

  def __len__(self) -> int:
    return len(self.regions)

  def add(self, index: int, row: Mapping[str, np.ndarray]) -> None:
    """Adds an image."""
    self.regions[index] = regions_lib.found(row["cells"])
    wins = row["best"] > self.best
    self.best = np.where(wins, row["best"], self.best)
    self.image = np.where(wins, index, self.image)
    self.place = np.where(wins, row["place"], self.place)
    if "pairs" not in row:
      return
    some = Counts(*(row[name][None] for name in Counts._fields))
    before = self.counts or segmentation.nothing(len(row["shared"]))
    self.counts = segmentation.added(before, some)
    total = max(int(row["pairs"].sum()), 1)
    self.wrong[index] = 1 - float(np.trace(row["pairs"])) / total

  def worst_first(self, most: int) -> list[int]:
    """Indices of images, those with most wrong pixels first."""
    order = sorted(self.regions, key=lambda i: -self.wrong.get(i, 0.0))
    return order[:most]


def classes(
  network: Network,
  state: State,
  data: Any,
  provenance: Any,
  request: Request,
  found: Gathered,
) -> Iterator[blocks.Explanation]:
  """An explanation of each class.

  Args:
    network: of the state.
    state: of the network.
    data: the stream of the images that were gone over.
    provenance: the stream of the images that prototypes were pushed to.
    request: what is asked for.
    found: of the pass over the images.
  """
  units = units_of(network, state)
  bank = jax.device_get(network.bank(state))
  s, k, m = network.shape
  numbers = np.arange(s * k * m).reshape(s, k, m).swapaxes(0, 1).reshape(k, -1)
  shown = set(np.flatnonzero(bank.alive)[: request.prototypes_shown].tolist())
  for c, name in enumerate(network.class_names):
    living = [int(p) for p in numbers[c] if bank.alive[p]]
    drawn: list[blocks.Block] = []
    if not living:
      drawn.append(
        blocks.Note(
          "The class has no prototype: no training image shows it, or all were"
          " dropped. No pixel is found to be of it for a reason.",
          "warning",
        )
      )
    pictured = [p for p in living if p in shown]
    if request.provenance and pictured:
      drawn += _sources(network, bank, provenance, pictured)
    if pictured:
      drawn.append(_nearest(network, data, found, pictured))
    drawn.append(_table(network, state, bank, data, found, numbers[c]))
    drawn += _composition(name, units[c])
    yield blocks.Explanation(
      key=f"{request.split}-class-{c}",
      title=name,
      scope="global",
      split=request.split,
      subject=name,
      group="Classes",
      blocks=tuple(drawn),
    )


def _sources(
  network: Network, bank: Any, stream: Any, prototypes: list[int]
) -> Iterator[blocks.Block]:
  """The training pixels that prototypes are."""
  pushed = [p for p in prototypes if bank.provenance.image[p] >= 0]
  images = [int(bank.provenance.image[p]) for p in pushed]
  if not pushed:
    yield blocks.Note("The prototypes have not been pushed to images yet.")
    return
  pixels = np.asarray(stream.examples(images)["image"])
  pictures, changed = [], 0
  for p, image in zip(pushed, pixels, strict=True):
    caption = f"prototype {p}, scale {_scale(network, p)}"
    cell = int(bank.provenance.cell[p])
    wide = shapes.ratio(stream, int(bank.provenance.image[p]))
    pictures.append(region_evidence.patch(image, cell, network, caption, wide))
    content = bank.provenance.content[p]
    changed += not np.array_equal(images_lib.digest(image), content)
  yield blocks.Gallery(
    tuple(pictures), "Training images that the prototypes are taken from"
  )
  if changed:
    yield blocks.Note(
      f"{changed} of these images have changed since the push.", "warning"
    )


def _nearest(
  network: Network, data: Any, found: Gathered, prototypes: list[int]
) -> blocks.Block:
  """Where each prototype is most similar to an image that was gone over."""
  images = data.examples(found.image[prototypes])["image"]
  return blocks.Gallery(
    tuple(
      region_evidence.patch(
        np.asarray(image),
        int(found.place[p]),
        network,
        f"prototype {p}: {found.best[p]:.2f}",
        shapes.ratio(data, int(found.image[p])),
      )
      for p, image in zip(prototypes, images, strict=True)
    ),
    "Most similar place of these images",
  )


def _table(
  network: Network,
  state: State,
  bank: Any,
  data: Any,
  found: Gathered,
  own: np.ndarray,
) -> blocks.Block:
  """The prototypes of a class, one by one."""
  shares = np.asarray(jax.device_get(regions_lib.shares(network, state)))
  rows, rates = [], network.aspp.rates
  for n, p in enumerate(own.tolist()):
    c, scale = int(bank.class_of[p]), _scale(network, p)
    seen = rates if network.aspp.summed else rates[scale - 1 : scale]
    rows.append(
      (
        p,
        network.class_names[c],
        scale,
        ", ".join(map(str, seen)),
        bool(bank.alive[p]),
        float(shares[c, n]),
        float(found.best[p]),
        data.source.name(int(found.image[p])),
      )
    )
  return blocks.Table(
    (
      *("prototype", "class", "scale", "dilation", "alive", "share"),
      *("largest similarity", "in image"),
    ),
    tuple(rows),
    "Prototypes",
  )


def _composition(name: str, units: list[Unit]) -> Iterator[blocks.Block]:
  """Each group in words, and its weights."""
  grouped = [unit for unit in units if unit.name.startswith("group")]
  for unit in grouped:
    if unit.members:
      yield blocks.Sentence(f"{unit.name.capitalize()} is {unit.text}.")
  if grouped:
    yield blocks.Table(
      ("class", "group", "prototype", "scale", "weight"),
      tuple(
        (name, unit.name, x.prototype, x.scale, x.weight)
        for unit in grouped
        for x in unit.members
      ),
      "Weights in the groups",
    )


def _scale(network: Network, prototype: int) -> int:
  """The scale of a prototype, from 1."""
  _, k, m = network.shape
  return prototype // (k * m) + 1


def overview(
  network: Network, state: State, data: Any, request: Request, found: Gathered
) -> blocks.Explanation:
  """How well classes are found, what for what is taken, the worst images."""
  names = network.class_names
  drawn: list[blocks.Block] = [
    blocks.Sentence(
      "A pixel is compared with prototypes, which are pixels of training"
      " images. Its class is the one whose prototypes, or groups of them, give"
      " it the most points. A group is a weighted mean of log similarities."
    ),
    blocks.pairs(
      {
        _WORDS.get(name, name): number
        for name, number in judging.of_prototypes(network, state).items()
      },
      ("what", "number"),
      "Prototypes",
    ),
  ]
  if found.counts is not None:
    drawn += _judged(found.counts, names)
    worst = found.worst_first(_WORST)
    drawn.append(
      blocks.Table(
        ("image", "share of its pixels that are wrong"),
        tuple((data.source.name(i), found.wrong[i]) for i in worst),
        "Worst images",
      )
    )
  return blocks.Explanation(
    key=f"{request.split}-overview",
    title=f"Classes of pixels over the {request.split} images",
    scope="overview",
    split=request.split,
    blocks=tuple(drawn),
  )


def _judged(counts: Counts, names: tuple[str, ...]) -> Iterator[blocks.Block]:
  scores = {
    _WORDS.get(name, name): None if np.isnan(value) else value
    for name, value in segmentation.scores(counts).items()
  }
  yield blocks.pairs(scores, ("metric", "value"), "Over all images")
  pixels = counts.pairs.sum(axis=1)
  each = segmentation.iou(counts.pairs)
  yield blocks.Table(
    ("class", "IoU", "pixels"),
    tuple(
      (name, None if np.isnan(value) else float(value), int(count))
      for name, value, count in zip(names, each, pixels, strict=True)
    ),
    "Classes",
  )
  shares = counts.pairs / np.maximum(pixels, 1)[:, None]
  shares = np.where(pixels[:, None] > 0, shares, np.nan)[:_COMPARED, :_COMPARED]
  yield blocks.Matrix(
    names[:_COMPARED],
    names[:_COMPARED],
    shares.astype(np.float64),
    "Pixels of the class in a row, by answer",
    "share",
  )
