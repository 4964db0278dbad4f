"""Runs an experiment: every arm with every seed, a line of JSON each.

python benchmarks/results.py NAME --data=DIR
python benchmarks/results.py NAME --table
python benchmarks/results.py --list
python benchmarks/results.py --docs
python benchmarks/results.py --stale

NAME is a file of benchmarks/experiments; benchmarks/experiment.py says what
stands in it. A run is one of train.py. Its figures are appended to
benchmarks/results/NAME.jsonl, and what stands there is not run again, as long
as the config, FIGURES and SETTINGS are the same. It may be interrupted
anywhere: the same command goes on.

--docs writes the tables of all experiments into README and docs, below their
marks (benchmarks/printed.py). --stale says for each of them whether its lines
stand, and which commits since may have changed its figures.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import datetime
import math
from pathlib import Path
import shutil
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import experiment as experiments
from benchmarks import harness, lines, printed
from benchmarks.experiment import ROOT, Experiment
from protojax import parallel

# (arguments of train.py) -> its exit code.
Train = Callable[[Sequence[str]], int]


def run(
  experiment: Experiment, file: Path, runs: Path, data: Path, train: Train
) -> None:
  """Runs what does not stand in the file yet, seed by seed.

  Args:
    experiment: the experiment.
    file: of its lines.
    runs: folder of the workdirs; one is deleted when its line is written.
    data: folder of the data sets.
    train: runs train.py.

  Raises:
    SystemExit: a run ended before its time, with its exit code.
  """
  stand = {(x["arm"], x["seed"], x["digest"]) for x in lines.read(file)}
  for seed in experiment.seeds:
    for arm in experiment.arms:
      digest = experiment.digest(arm, seed)
      if (arm, seed, digest) in stand:
        continue
      print(f"{experiment.name}: {arm}, seed {seed}", flush=True)
      workdir, began = runs / f"{experiment.name}-{digest}", time.monotonic()
      experiment.before(arm, data)
      arguments = experiment.arguments(arm, seed, data)
      if status := train([*arguments, f"--workdir={workdir}"]):
        sys.exit(status)
      summary = experiments.summary(workdir, data)
      measured = experiment.measure(workdir, data, **experiment.settings)
      found = {
        "arm": arm,
        "seed": seed,
        "arguments": experiment.arguments(arm, seed),
        "digest": digest,
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
        "figures": {
          name: figure(measured, place)
          for name, place in experiment.figures.items()
        },
        "seconds": round(time.monotonic() - began, 1),
        "versions": summary.get("versions"),
        "devices": summary.get("devices"),
        "machine": harness.machine(),
      }
      lines.append(file, found)
      shutil.rmtree(workdir)


def figure(measured: Mapping[str, Any], place: str) -> float | None:
  """A number by its dotted place; an item of a list by number.

  None where MEASURE says that an arm has no such figure.

  Raises:
    SystemExit: there is none; says what there is.
  """
  found: Any = measured
  for part in place.split("."):
    try:
      found = found[int(part) if isinstance(found, list) else part]
    except (KeyError, IndexError, ValueError, TypeError):
      known = ", ".join(found) if isinstance(found, Mapping) else found
      sys.exit(f"error: {place}: {part!r} is not in the summary, but {known}")
  if found is None:
    return None
  if not math.isfinite(found):
    sys.exit(f"error: {place} is {found}, which no table can hold")
  return float(found)


def _commit() -> str:
  """The commit of the code, with a + if what is run differs from it."""
  status = printed.git("status", "--porcelain", "--", "protojax", "configs")
  return printed.git("rev-parse", "--short=12", "HEAD") + "+" * bool(status)


def _train(arguments: Sequence[str]) -> int:
  """Runs train.py in a process of its own; gives its exit code."""
  command = [sys.executable, str(ROOT / "train.py"), *arguments]
  return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(argv: Sequence[str] | None = None) -> None:
  """Runs or prints what was asked for."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "name", nargs="?", metavar="NAME", choices=[*experiments.names(), None]
  )
  what = parser.add_mutually_exclusive_group()
  what.add_argument("--table", action="store_true", help="run nothing")
  what.add_argument("--list", action="store_true", help="what there is")
  what.add_argument(
    "--docs", action="store_true", help="write the tables into README and docs"
  )
  what.add_argument(
    "--stale", action="store_true", help="what is older than what it rests on"
  )
  parser.add_argument(
    "--data",
    type=Path,
    default=ROOT / "data",
    metavar="DIR",
    help="folder of the data sets; data by default",
  )
  parser.add_argument(
    "--runs",
    type=Path,
    default=ROOT / "runs",
    metavar="DIR",
    help="folder of the workdirs while they run; runs by default",
  )
  args = parser.parse_args(argv)
  if args.docs:
    printed.write()
  elif args.stale:
    print("\n".join(printed.stale()))
  elif args.list or not args.name:
    for name in experiments.names():
      print(f"{name}: {experiments.load(name).question}")
  else:
    _one(args)


def _one(args: argparse.Namespace) -> None:
  """Runs an experiment, if asked to, and prints its table."""
  experiment = experiments.load(args.name)
  file = lines.path(args.name)
  if not args.table:
    parallel.setup()
    run(experiment, file, args.runs, args.data, _train)
  print(f"\n{experiment.question}\n")
  harness.tell(lines.table(experiment, lines.read(file)))


if __name__ == "__main__":
  main()
