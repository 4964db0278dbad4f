"""The answer to the removal of a prototype, at the size of CUB-200-2011.

python benchmarks/edits.py [--quick] [--anew] [--removed N] [--json FILE]

Scores of 5,994 images for 2,000 prototypes of 200 classes are drawn as in
`last_layer.py`. The best head for all prototypes is found once, as a page of
edits does when it opens. Then one prototype after the other is thrown out of
it, and the head is solved anew for the others: first nearly, as the page of
edits answers, and then to its last digits. A row tells the time and the
processor time of each answer and what is left of the residual at the centre;
of the first answer also how far its logits are from those of the second, and
the share of images with another answer.
With `--anew` the first row has, too, how far its logits are from those of a
search from the centre without that prototype, which takes long.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness, last_layer
from protojax import parallel
from protojax.data import stream
from protojax.engine import head_solver
from protojax.prototypes.bank import with_vectors

_L1, _RIDGE, _STEPS = 1e-4, 1e-4, 1000


def main() -> None:
  """Prints a row for the start, and one for each removal."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--quick", action="store_true", help="smaller")
  parser.add_argument("--anew", action="store_true", help="see above")
  parser.add_argument(
    "--removed", type=int, default=5, help="prototypes, evenly spread"
  )
  parser.add_argument("--json", default="", metavar="FILE")
  args = parser.parse_args()
  parallel.setup()
  print(f"{harness.machine()}\n")
  size = (50, 1500, 80, 1e-4) if args.quick else (200, 5994, 80, 1e-4)
  rows = _rows(last_layer.drawn(*size), args.anew, args.removed)
  harness.tell(rows, args.json)


def _rows(problem: Any, compare: bool, removed: int) -> Iterator[harness.Row]:
  ordered = stream.ordered(problem, 1, 1024)
  solver = head_solver.Solver(problem.classes, (_L1,), _RIDGE, _STEPS)
  kept = head_solver.Kept(problem.scores, ordered)

  def row(
    name: str, state: Any, kept: Any, nearly: bool = False
  ) -> tuple[harness.Row, Any]:
    began = time.perf_counter(), time.process_time()
    if nearly:
      state, left = solver.nearly(state, kept)
    else:
      state, (found,) = solver(state, kept)
      left = found.residual
    return {
      "": name,
      "s": f"{time.perf_counter() - began[0]:.2f}",
      "s of a processor": f"{time.process_time() - began[1]:.2f}",
      "residual": f"{left:.0e}",
      "logits apart": "",
      "other answers": "",
    }, _logits(state, problem)

  count = problem.scores.shape[1]
  state = with_vectors(problem.state, np.zeros((count, 1, 1, 1), np.float32))
  first, _ = row("all prototypes, from the centre", state, kept)
  yield first
  for gone in np.linspace(0, count - 1, removed).astype(int).tolist():
    alive = np.arange(count) != gone
    without = state.replace(buffers={**state.buffers, "alive": alive})
    soon, near = row(f"nearly, without prototype {gone}", without, kept, True)
    found, logits = row(f"without prototype {gone}", without, kept)
    soon["logits apart"] = f"{np.abs(near - logits).max():.0e}"
    other = np.mean(near.argmax(axis=1) != logits.argmax(axis=1))
    soon["other answers"] = f"{other:.1%}"
    yield soon
    if compare and gone == 0:
      anew, expected = row(
        "the same, from the centre",
        without,
        head_solver.Kept(problem.scores, ordered),
      )
      apart = np.abs(logits - expected).max()
      found["logits apart"] = f"{apart:.0e}"
      yield anew
    yield found


def _logits(state: Any, problem: Any) -> np.ndarray:
  weight = np.asarray(state.params["head"]["weight"], np.float64)
  alive = np.asarray(state.buffers["alive"])
  return problem.scores.astype(np.float64) @ (weight * alive).T


if __name__ == "__main__":
  main()
