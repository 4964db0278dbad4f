"""How the benchmarks of speed measure: two sides in turns, as ratios.

Times of a shared machine mean little; the ratio of two that were taken in
turns does. A row has a target, and says which way is better.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import statistics
import time
from typing import Any, Literal

import jax

from benchmarks import harness
from protojax import parallel

_PLATFORMS = {"cpu": "cpu", "gpu": "cuda"}
_PAUSE = 0.02  # seconds: idle threads of the other side stop spinning
Better = Literal["lower", "higher"]


@dataclasses.dataclass(frozen=True)
class Pair:
  """Two functions that are timed against each other.

  Attributes:
    row: what the row of the table is called.
    ours, other: do the work, and return when it is done; the first call, which
      compiles, is told apart.
    target: the ratio that is wanted.
    better: "lower": the ratio is ours / other; "higher": other / ours.
    ours_units, other_units: by which the seconds are divided, such as images.
  """

  row: str
  ours: Callable[[], Any]
  other: Callable[[], Any]
  target: float
  better: Better
  ours_units: float = 1.0
  other_units: float = 1.0

  def measure(self, repeats: int) -> harness.Row:
    """Medians of so many turns, and their ratio."""
    first = _seconds(self.ours)
    other_first = _seconds(self.other)
    turns = [
      (_seconds(self.ours), _seconds(self.other)) for _ in range(repeats)
    ]
    ours, other = map(statistics.median, zip(*turns, strict=True))
    ours, other = ours / self.ours_units, other / self.other_units
    ratio = ours / other if self.better == "lower" else other / ours
    met = ratio <= self.target
    if self.better == "higher":
      met = ratio >= self.target
    return {
      "row": self.row,
      "ours ms": round(1e3 * ours, 2),
      "other ms": round(1e3 * other, 2),
      "ratio": round(ratio, 3),
      "target": self.target,
      "better": self.better,
      "met": "yes" if met else "no",
      "first calls s": f"{first:.1f}, {other_first:.1f}",
    }


def _seconds(function: Callable[[], Any]) -> float:
  time.sleep(_PAUSE)
  began = time.perf_counter()
  function()
  return time.perf_counter() - began


def main(
  doc: str, pairs: Mapping[str, Callable[[bool], Iterable[Pair]]]
) -> None:
  """Runs the pairs that were asked for, and prints their table.

  Args:
    doc: of the script.
    pairs: name -> whether it shall be quick -> pairs. Those of a name are
      made when their turn comes and dropped after it.
  """
  parser = argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("only", nargs="*", metavar="NAME", help=", ".join(pairs))
  parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
  parser.add_argument(
    "--quick", action="store_true", help="smaller, in seconds"
  )
  parser.add_argument("--repeats", type=int, default=harness.REPEATS)
  parser.add_argument("--json", default="", metavar="FILE")
  args = parser.parse_args()
  if unknown := sorted(set(args.only) - set(pairs)):
    parser.error(f"{', '.join(unknown)}: there are {', '.join(pairs)}")
  jax.config.update("jax_platforms", _PLATFORMS[args.device])
  parallel.setup()
  print(f"{harness.machine()}\n")

  def rows() -> Iterator[harness.Row]:
    for name, make in pairs.items():
      if not args.only or name in args.only:
        for pair in make(args.quick):
          yield pair.measure(args.repeats)

  harness.tell(rows(), args.json)
