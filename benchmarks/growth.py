"""How the cost of each method grows: slopes on logarithmic scales.

python benchmarks/growth.py [METHOD ...] [--json FILE]

For each method the smallest config is taken with four sizes of one axis, each
twice the one before: prototypes (of a class, in all, experts, groups or cells),
classes, pixels of a side. Costs are counted from traces, so that they do not
depend on the machine: products and bytes touched of the dearest training step,
bytes that it holds, and products of the answers to a batch. A slope is that of
the line through the logarithms of what each doubling adds, so that what a size
has no part in does not count; 1 is in proportion, 0 is no growth. None may
exceed the algorithm's own. Images need no count: an epoch has a step for each
batch of them.
"""

import argparse
from collections.abc import Iterator, Mapping
import dataclasses
import importlib
from pathlib import Path
import sys
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness, planned
from protojax import parallel
from protojax.engine.stage import Fit

_DOUBLED = 4
# A classifier's prototypes are those of its classes: with a weight for each
# pair, the head is their product. Attention compares all cells of an image.
_PAIRS, _ATTENTION, _SIDE = 2.0, 4.0, 2.0
_NOWHERE = "nowhere"
# Products with padding do not count, so that wider maps have a little more; and
# a grid is a whole number of cells.
_MARGIN = 0.2


@dataclasses.dataclass(frozen=True)
class Axis:
  """What is doubled.

  Attributes:
    key: of the config; '' for the classes of the data.
    start: the smallest size.
    own: the algorithm's own slope at most.
  """

  key: str
  start: int
  own: float = 1.0


def _classes(own: float = 1.0) -> Axis:
  return Axis("", 64, own)


def _pixels(start: int, own: float = _SIDE) -> Axis:
  return Axis("data.image_size", start, own)


AXES: Mapping[str, Mapping[str, Axis]] = {
  "comel": {"groups of a side": Axis("network.side", 4, _SIDE)},
  "csr": {
    "prototypes": Axis("prototypes.per_concept", 64),
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
  },
  "epic": {"classes": _classes(), "pixels": _pixels(64)},
  "gapl": {
    "prototypes": Axis("prototypes.count", 4),
    "pixels": _pixels(64, _ATTENTION),
  },
  "inp_former": {
    "prototypes": Axis("prototypes.count", 32),
    "pixels": _pixels(64, _ATTENTION),
  },
  "neurogaze_distill": {
    "cells of a column": Axis("bank.rows", 8),
    "classes": _classes(),
    "pixels": _pixels(32),
  },
  "patchct": {"classes": _classes(), "pixels": _pixels(56, _ATTENTION)},
  "promoe": {
    "experts": Axis("moe.experts", 4),
    "classes": _classes(),
    "pixels": _pixels(16, _ATTENTION),
  },
  "protopnet": {
    "prototypes": Axis("prototypes.per_class", 64),
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
  },
  "scaleprotoseg": {
    # Its loss compares all pairs of prototypes of a class.
    "prototypes": Axis("prototypes.per_class", 64, _PAIRS),
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
  },
  "st_protopnet": {
    # So does its orthogonality.
    "prototypes": Axis("prototypes.per_class", 64, _PAIRS),
    "classes": _classes(_PAIRS),
    "pixels": _pixels(64),
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
  # The stage that does most at the largest size.
  fit, _ = planned.largest(_method(name, axis, sizes[-1]))
  costs = [_costs(_method(name, axis, size), fit.name) for size in sizes]
  found = {
    what: round(slope(sizes, [cost[what] for cost in costs]), 2)
    for what in costs[0]
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
  module = importlib.import_module(f"configs.{name}_folder")
  config = planned.untrained(module.get_config("debug")).unlock()
  if axis.key:
    config.update_from_flattened_dict({axis.key: size})
  else:
    # Classes are those of stand-ins for data that are not there.
    data = module.get_config("").data.name
    config.data.update(name=data, root=_NOWHERE, train="train", test="test")
  return planned.load(config.lock(), classes=0 if axis.key else size)


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
