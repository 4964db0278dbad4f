"""From `python train.py` to the first update: imports, data, compilation.

python benchmarks/start.py [--config=FILE:VARIANTS] [--json=FILE]

Runs train.py twice in a fresh process each, first with an empty cache of
compiled programs, then with what the first run left there, and stops it after
the first updates of its first two stages of gradient descent. Prints a Markdown
table of seconds since the process began.
"""

import argparse
from collections.abc import Iterator
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import parallel

_ROOT = Path(__file__).parents[1]

# What the process runs: train.py, which tells the time after first updates.
_TOLD = """
import os, runpy, sys, time
import jax
from protojax.engine import run
fit, began, told = run.fit, float(sys.argv[1]), set()

def first(stage, *rest):
  for update in fit(stage, *rest):
    if stage.name not in told:
      jax.block_until_ready(update.metrics)
      told.add(stage.name)
      print("first", time.time() - began, stage.name, flush=True)
      if len(told) == 2:
        os._exit(0)
    yield update

run.fit = first
sys.argv = ["train.py", *sys.argv[2:]]
print("first", time.time() - began, "imports", flush=True)
runpy.run_path("train.py", run_name="__main__")
"""


def rows(config: str) -> Iterator[harness.Row]:
  """Seconds to the first updates, without and with compiled programs."""
  with tempfile.TemporaryDirectory() as folder:
    programs = Path(folder) / "programs"
    for number, name in enumerate(("nothing compiled", "all compiled")):
      environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(programs)}
      flags = f"--config={config}", f"--workdir={folder}/{number}"
      done = subprocess.run(
        [sys.executable, "-c", _TOLD, str(time.time()), *flags],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
      )
      told = [x.split(maxsplit=2) for x in done.stdout.splitlines()]
      times = {x[2]: round(float(x[1]), 1) for x in told if x[0] == "first"}
      yield {"row": name, **times}


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--config", default="configs/protopnet_photos.py")
  parser.add_argument("--json", default="", metavar="FILE")
  args = parser.parse_args()
  parallel.setup()
  print(f"{harness.machine()}\n")
  harness.tell(rows(args.config), args.json)


if __name__ == "__main__":
  main()
