"""How the cost of each method grows: slopes on logarithmic scales.

python benchmarks/growth.py [METHOD ...] [--json FILE]

For each method the smallest config is taken with four sizes of one axis, each
twice the one before: prototypes (of a class, in all, experts, groups or cells),
classes, pixels of a side, images, or what else its cost depends on. Costs are
counted from traces, so that they do not depend on the machine: products and
bytes touched of the dearest training step, bytes that it holds, and products of
the answers to a batch. A slope is that of the line through the logarithms of
what each doubling adds, so that what a size has no part in does not count; 1 is
in proportion, 0 is no growth. None may exceed the algorithm's own. Images are
of an epoch, which has a step for each batch: a step may keep a row of each.
"""

import argparse
from collections.abc import Iterator, Mapping
import dataclasses
import functools
import importlib
from pathlib import Path
import sys
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness, planned
from protojax import parallel
from protojax.engine import cost
from protojax.engine.stage import Fit
from protojax.methods.irca import model as irca
from protojax.methods.irca import refine

_DOUBLED = 4
# A classifier's prototypes are those of its classes: with a weight for each
# pair, the head is their product. Attention compares all cells of an image.
_PAIRS, _ATTENTION, _SIDE = 2.0, 4.0, 2.0
_NOWHERE = "nowhere"
# Configs of methods without one for a folder.
_CONFIGS = {"proactive_agents": "proactive_agents_scenes"}
# It has no gradient descent, but a search for each interferometer.
_IRCA = "irca"
# Products with padding do not count, so that wider maps have a little more; and
# a grid is a whole number of cells.
_MARGIN = 0.2


@dataclasses.dataclass(frozen=True)
class Axis:
  """What is doubled.

  Attributes:
    keys: of the config; none for the classes or images of the data.
    start: the smallest size.
    own: the algorithm's own slope at most.
    images: whether the images of the data are doubled, not the classes.
  """

  keys: tuple[str, ...]
  start: int
  own: float = 1.0
  images: bool = False


def _key(key: str, start: int, own: float = 1.0) -> Axis:
  return Axis((key,), start, own)


def _classes(own: float = 1.0) -> Axis:
  return Axis((), 64, own)


def _images() -> Axis:
  return Axis((), 4_000, images=True)


def _pixels(start: int, own: float = _SIDE) -> Axis:
  return _key("data.image_size", start, own)


AXES: Mapping[str, Mapping[str, Axis]] = {
  "centre_detector": {
    "answers of an image": _key("network.most", 16),
    "pixels": _pixels(64),
    "images": _images(),
  },
  "comel": {
    "groups of a side": _key("network.side", 4, _SIDE),
    # With the groups as they are, a group's instances attend to each other.
    "instances of a bag": Axis(("data.least", "data.most"), 512, _PAIRS),
  },
  "csr": {
    "prototypes": _key("prototypes.per_concept", 64),
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
    "images": _images(),
  },
  "epic": {"classes": _classes(), "pixels": _pixels(64), "images": _images()},
  "fopro": {
    # One of each class; two images' likenesses to all are compared.
    "prototypes": _classes(),
    "images of the queue": _key("queue.size", 512),
    "pixels": _pixels(16),
    "images": _images(),
  },
  "gapl": {
    "prototypes": _key("prototypes.count", 4),
    "pixels": _pixels(64, _ATTENTION),
    "images": _images(),
  },
  "inp_former": {
    "prototypes": _key("prototypes.count", 32),
    "pixels": _pixels(64, _ATTENTION),
    "images": _images(),
  },
  _IRCA: {
    "sources": _key("sources", 64),
    # The normal equations of an interferometer are solved.
    "degrees": _key("degrees", 4, 3.0),
    "interferometers": _key("interferometers", 64),
  },
  "neurogaze_distill": {
    "cells of a column": _key("bank.rows", 8),
    # Means of classes are kept apart, each pair.
    "classes": _classes(_PAIRS),
    "pixels": _pixels(32),
    "images": _images(),
  },
  "noisy_pseudo_label_diffusion": {
    "classes": _classes(),
    "pixels": _pixels(64),
    "images": _images(),
  },
  "patchct": {
    "classes": _classes(),
    "pixels": _pixels(56, _ATTENTION),
    "images": _images(),
  },
  "pem": {
    # Queries attend to each other.
    "prototypes": _key("decoder.queries", 64, _PAIRS),
    "classes": _classes(),
    "pixels": _pixels(64),
    "images": _images(),
  },
  "proactive_agents": {
    # Its pictures have one size.
    "questions of a picture": _key("vqa.questions", 8)
  },
  "promoe": {
    "experts": _key("moe.experts", 4),
    "classes": _classes(),
    "pixels": _pixels(16, _ATTENTION),
    "images": _images(),
  },
  "protopnet": {
    "prototypes": _key("prototypes.per_class", 64),
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
    "images": _images(),
  },
  "scaleprotoseg": {
    # Its loss compares all pairs of prototypes of a class.
    "prototypes": _key("prototypes.per_class", 64, _PAIRS),
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
    "images": _images(),
  },
  "st_protopnet": {
    # So does its orthogonality.
    "prototypes": _key("prototypes.per_class", 64, _PAIRS),
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
    "images": _images(),
  },
  "tcsa_uda": {
    # Relations are of each pair of classes.
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
    "images": _images(),
  },
  "text_to_image": {
    # Words attend to each other.
    "words of a caption": _key("text.length", 16, _PAIRS),
    "pixels": _pixels(32, _ATTENTION),
    "images": _images(),
  },
  "vsc": {
    "things of a caption": _key("pairs.most", 4, _PAIRS),
    "pixels": _pixels(32, _ATTENTION),
    "images": _images(),
  },
}


def rows(names: list[str]) -> Iterator[harness.Row]:
  """A row for each method and axis."""
  for name in names:
    for axis, doubled in AXES[name].items():
      yield {"method": name, "axis": axis, **slopes(name, doubled)}


def slopes(name: str, axis: Axis) -> harness.Row:
  """Slope of each cost, and whether one exceeds the algorithm's own."""
  sizes = [axis.start * 2**i for i in range(_DOUBLED)]
  if name == _IRCA:
    costs = [_costs_of_irca(axis, size) for size in sizes]
  else:
    # The stage that does most at the largest size.
    fit, _ = planned.largest(_method(name, axis, sizes[-1]))
    costs = [_costs(_method(name, axis, size), fit.name) for size in sizes]
  found = {
    what: round(slope(sizes, [x[what] for x in costs]), 2) for what in costs[0]
  }
  above = max(found.values()) > axis.own + _MARGIN
  sizes = f"{sizes[0]} to {sizes[-1]}"
  return {"sizes": sizes, **found, "own": axis.own, "above": _yes(above)}


def slope(sizes: list[int], costs: list[float]) -> float:
  """Exponent k of costs a + b size^k at doubled sizes; 0 if nothing grows.

  What is held is the most of several moments: where one takes over from
  another, the line goes through the costs themselves.
  """
  at, added = sizes[:-1], np.diff(costs)
  if not np.all(added > 0):
    at, added = sizes, np.asarray(costs)
  if np.ptp(added) == 0:
    return 0.0
  return float(np.polyfit(np.log(at), np.log(added), 1)[0])


def _yes(true: bool) -> str:
  return "yes" if true else "no"


def _method(name: str, axis: Axis, size: int) -> Any:
  file = _CONFIGS.get(name, f"{name}_folder")
  module = importlib.import_module(f"configs.{file}")
  config = planned.untrained(module.get_config("debug")).unlock()
  config.update_from_flattened_dict(dict.fromkeys(axis.keys, size))
  if axis.keys:
    return planned.load(config.lock())
  # Classes are those of stand-ins for data that are not there.
  data = module.get_config("").data.name
  config.data.update(name=data, root=_NOWHERE, train="train", test="test")
  if axis.images:
    return planned.load(config.lock(), images=size)
  return planned.load(config.lock(), classes=size)


def _costs(method: Any, stage: str) -> dict[str, float]:
  fit = next(
    x for x in method.stages() if isinstance(x, Fit) and x.name == stage
  )
  step = planned.of_step(method, fit)
  return {
    "step, products": step.flops,
    "step, bytes": float(step.touched),
    "step, held": float(step.held),
    "answers, products": planned.of_answers(method).flops,
  }


def _costs_of_irca(axis: Axis, size: int) -> dict[str, float]:
  """The same of a fit of curves, whose search counts for one of its steps."""
  sizes = {"sources": 64, "interferometers": 64, "degrees": 5}
  sizes |= dict.fromkeys(axis.keys, size)
  degree, sources = sizes["degrees"], sizes["sources"]
  model = irca.Model(0, True, degree, degree, (1.0, 2.0))
  curves = jax.ShapeDtypeStruct((sizes["interferometers"], sources), np.float32)
  start, line = (
    jax.ShapeDtypeStruct((sizes["interferometers"], *more), np.float32)
    for more in ((model.unknowns,), ())
  )
  fit = functools.partial(
    refine.refine,
    model,
    refine.Fit(),
    refine.Numbers(np.ones(model.unknowns, bool)),
    np.linspace(1, 2, sources),
  )
  found = cost.of(fit, curves, start, line)
  response = functools.partial(model.parts, np.linspace(1, 2, sources))
  return {
    "step, products": found.flops,
    "step, bytes": float(found.touched),
    "step, held": float(found.held),
    "answers, products": cost.of(lambda u: response(u).value, start).flops,
  }


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("methods", nargs="*", metavar="METHOD")
  parser.add_argument("--json", default="", metavar="FILE")
  args: Any = parser.parse_args()
  if unknown := sorted(set(args.methods) - set(AXES)):
    parser.error(f"{', '.join(unknown)}: there are {', '.join(AXES)}")
  parallel.rehearse(1)
  harness.tell(rows(args.methods or list(AXES)), args.json)


if __name__ == "__main__":
  main()
