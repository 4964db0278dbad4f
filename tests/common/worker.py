"""A process of the tests in this folder, on as many devices as it was given.

python tests/common/worker.py begin METHOD FOLDER
python tests/common/worker.py again METHOD FOLDER --distributed

`begin` leaves in FOLDER the states of a run, numbers.npz, resumed.npz and
explanations; `again` numbers of the same states in again.npz.
"""

from pathlib import Path
import sys

import numpy as np

from protojax import parallel
from protojax.engine.checkpoint import flatten
from tests.common import runs


def begin(name: str, folder: Path) -> None:
  method = runs.load(name)
  found = runs.numbers(method, folder, begin=True)
  np.savez(folder / "numbers.npz", **found)
  if method.capabilities.explains is not None:
    runs.explain(method, folder, folder / "explanations")
  state = runs.resume(runs.load(name), folder)
  np.savez(folder / "resumed.npz", **flatten({"state": state}))


def again(name: str, folder: Path) -> None:
  found = runs.numbers(runs.load(name), folder)
  if parallel.is_primary():
    np.savez(folder / "again.npz", **found)


if __name__ == "__main__":
  parallel.setup("--distributed" in sys.argv)
  task, method_name, where = sys.argv[1:4]
  {"begin": begin, "again": again}[task](method_name, Path(where))
