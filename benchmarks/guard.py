"""Fails where a ratio has fallen by a third: the benchmark that CI runs.

python benchmarks/guard.py            beside benchmarks/ratios.json
python benchmarks/guard.py --write    writes that file anew

Rows that need neither PyTorch nor a peer, at their quick sizes, in a minute.
Another program may have the processor for a while: one that has fallen is
measured twice more and the best counts, and the worst of three is written.

Ratios are kept for each maker of processors: OpenCV runs Intel's own kernels on
Intel's processors alone, for example. On a processor of no kept maker the rows
are measured and nothing fails, and so it is with a row that is kept for another
maker alone. Ratios of memory hold on any processor.
"""

import argparse
from collections.abc import Iterator, Mapping
import json
from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import explain, harness, large, prototypes, push, ratios
from protojax import parallel

_FILE = Path(__file__).with_name("ratios.json")
_MEASURED = (
  explain.forwards,
  explain.texture,
  explain.smoothed,
  push.sweeps,
  prototypes.scores,
  prototypes.gradients,
  large.opened,
)
# Of memory, which no processor changes; kept once for all, and measured first:
# a process does not give back what it had.
_ANYWHERE, _ANY = (large.streamed, prototypes.memory), "any"
_TURNS = 3
# What a ratio may lose of itself.
_LOSS = 1 / 3


def pairs() -> Iterator[ratios.Pair | large.Growth | prototypes.Memory]:
  """All that are measured, one at a time."""
  for make in (*_ANYWHERE, *_MEASURED):
    yield from make(True)


def compared(kept: Mapping[str, float]) -> Iterator[harness.Row]:
  """Each ratio beside the one that is kept, and whether it has fallen."""
  for pair in pairs():
    before = kept.get(pair.row)
    for _ in range(_TURNS):
      row = pair.measure(harness.REPEATS)
      fell = before is not None and fallen(row["ratio"], before, pair.better)
      if not fell:
        break
    fell = "yes" if fell else "no"
    yield {**row, "row": pair.row, "kept": before, "fell": fell}


def worst() -> Iterator[harness.Row]:
  """The worst of several measurements of each ratio."""
  for pair in pairs():
    rows = [pair.measure(harness.REPEATS) for _ in range(_TURNS)]
    sign = 1 if pair.better == "lower" else -1
    found = max(rows, key=lambda row, sign=sign: sign * row["ratio"])
    yield {**found, "row": pair.row}


def fallen(ratio: float, before: float, better: ratios.Better) -> bool:
  """Whether a ratio has lost a third of what it was."""
  share = before / ratio if better == "lower" else ratio / before
  return share < 1 - _LOSS


def main() -> int:
  """Prints the table; 1 if a ratio has fallen, or no maker has the row."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--write", action="store_true", help="keep what is found")
  args = parser.parse_args()
  parallel.setup()
  print(f"{harness.machine()}\n")
  maker, kept = harness.maker(), json.loads(_FILE.read_text())
  if args.write:
    memory = {pair.row for make in _ANYWHERE for pair in make(True)}
    found = {row["row"]: row["ratio"] for row in harness.tell(worst())}
    kept[_ANY] = {row: x for row, x in found.items() if row in memory}
    kept[maker] = {row: x for row, x in found.items() if row not in memory}
    _FILE.write_text(json.dumps(kept, indent=2) + "\n")
    return 0
  found = harness.tell(compared(kept[_ANY] | kept.get(maker, {})))
  if maker not in kept:
    print(
      f"no ratio is kept for {maker}; add them with --write", file=sys.stderr
    )
    return 0
  fell = [row["row"] for row in found if row["fell"] == "yes"]
  anywhere = {row for rows in kept.values() for row in rows}
  unknown = [row["row"] for row in found if row["row"] not in anywhere]
  for name in fell:
    print(f"fallen by a third or more: {name}", file=sys.stderr)
  for name in unknown:
    print(f"not in {_FILE.name}, add it with --write: {name}", file=sys.stderr)
  return 1 if fell or unknown else 0


if __name__ == "__main__":
  sys.exit(main())
