"""A process of the tests in this folder, on as many devices as it was given.

python tests/common/worker.py begin FOLDER METHOD...
python tests/common/worker.py again FOLDER METHOD... --distributed

`begin` leaves in FOLDER/METHOD the states of a run, numbers.npz,
resumed.npz and explanations; `again` numbers of the same states in again.npz.
What a method raises is in its error.txt.
"""

from pathlib import Path
import sys
import traceback

import numpy as np

from protojax import parallel
from protojax.engine.checkpoint import flatten
from tests.common import runs


def begin(name: str, folder: Path) -> None:
  method = runs.load(name)
  found = runs.numbers(method, folder, begin=True)
  np.savez(folder / "numbers.npz", **found)
  runs.explain(method, folder, folder / "explanations")
  state = runs.resume(runs.load(name), folder)
  np.savez(folder / "resumed.npz", **flatten({"state": state}))


def again(name: str, folder: Path) -> None:
  found = runs.numbers(runs.load(name), folder)
  if parallel.is_primary():
    np.savez(folder / "again.npz", **found)


def main(task: str, folder: str, names: list[str]) -> None:
  for name in names:
    own = Path(folder) / name
    try:
      {"begin": begin, "again": again}[task](name, own)
    except Exception:
      # The others are to be seen, too.
      own.mkdir(parents=True, exist_ok=True)
      (own / "error.txt").write_text(traceback.format_exc())


if __name__ == "__main__":
  parallel.setup("--distributed" in sys.argv)
  words = [x for x in sys.argv[1:] if x != "--distributed"]
  main(words[0], words[1], words[2:])
