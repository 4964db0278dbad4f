"""Runs an experiment: every arm with every seed, a line of JSON each.

python benchmarks/results.py NAME
python benchmarks/results.py NAME --table
python benchmarks/results.py --list

NAME is a file of benchmarks/experiments, which declares

  QUESTION  what the experiment answers, in one line
  ARMS      name -> (config file, {key of the config: value})
  FIGURES   name -> place in summary.json: "accuracy.after_push"
  SEEDS     of each arm

A run is one of train.py. What it gives is appended to
benchmarks/results/NAME.jsonl, and what stands there is not run again, as long
as the config and FIGURES are the same. It may be interrupted anywhere: the same
command goes on. The table has the mean and the deviation (of a sample) over the
seeds.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import hashlib
import json
import os
from pathlib import Path
import runpy
import shutil
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import configuration

_ROOT = Path(__file__).parents[1]
_EXPERIMENTS = _ROOT / "benchmarks" / "experiments"
_RESULTS = _ROOT / "benchmarks" / "results"

# (arguments of train.py) -> its exit code.
Train = Callable[[Sequence[str]], int]
Line = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What a file of benchmarks/experiments declares; see above."""

  name: str
  question: str
  arms: Mapping[str, tuple[str, Mapping[str, Any]]]
  figures: Mapping[str, str]
  seeds: Sequence[int]

  def arguments(self, arm: str, seed: int) -> list[str]:
    """Those of train.py for one run, but for its workdir."""
    file, changes = self.arms[arm]
    keys = [f"--config.{key}={value}" for key, value in changes.items()]
    return [f"--config={file}", *keys, f"--config.seed={seed}"]

  def digest(self, arm: str, seed: int) -> str:
    """16 hexadecimal digits that identify a run's config and its figures."""
    first, *keys = self.arguments(arm, seed)
    config = configuration.load(str(_ROOT / first.partition("=")[2]), keys)
    text = json.dumps([config.to_dict(), dict(self.figures)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def names(folder: Path = _EXPERIMENTS) -> list[str]:
  """The experiments that there are."""
  return sorted(path.stem for path in folder.glob("*.py"))


def load(name: str, folder: Path = _EXPERIMENTS) -> Experiment:
  """The experiment of a file."""
  declared = runpy.run_path(str(folder / f"{name}.py"))
  found = (declared[key] for key in ("QUESTION", "ARMS", "FIGURES", "SEEDS"))
  return Experiment(name, *found)


def run(experiment: Experiment, file: Path, runs: Path, train: Train) -> None:
  """Runs what does not stand in the file yet, seed by seed.

  Args:
    experiment: the experiment.
    file: of its lines.
    runs: folder of the workdirs; one is deleted when its line is written.
    train: runs train.py.

  Raises:
    SystemExit: a run ended before its time, with its exit code.
  """
  stand = {(x["arm"], x["seed"], x["digest"]) for x in lines(file)}
  for seed in experiment.seeds:
    for arm in experiment.arms:
      digest = experiment.digest(arm, seed)
      if (arm, seed, digest) in stand:
        continue
      print(f"{experiment.name}: {arm}, seed {seed}", flush=True)
      workdir = runs / f"{experiment.name}-{digest}"
      arguments, began = experiment.arguments(arm, seed), time.monotonic()
      if status := train([*arguments, f"--workdir={workdir}"]):
        sys.exit(status)
      summary = json.loads((workdir / "summary.json").read_text())
      found = {
        "arm": arm,
        "seed": seed,
        "arguments": arguments,
        "digest": digest,
        "commit": _commit(),
        "figures": {
          name: figure(summary, place)
          for name, place in experiment.figures.items()
        },
        "seconds": round(time.monotonic() - began, 1),
        "versions": summary.get("versions"),
        "devices": summary.get("devices"),
      }
      append(file, found)
      shutil.rmtree(workdir)


def figure(summary: Mapping[str, Any], place: str) -> float:
  """A number of a summary by its dotted place; an item of a list by number.

  Raises:
    SystemExit: there is none; says what there is.
  """
  found: Any = summary
  for part in place.split("."):
    try:
      found = found[int(part) if isinstance(found, list) else part]
    except (KeyError, IndexError, ValueError, TypeError):
      known = ", ".join(found) if isinstance(found, Mapping) else found
      sys.exit(f"error: {place}: {part!r} is not in the summary, but {known}")
  return float(found)


def append(file: Path, line: Mapping[str, Any]) -> None:
  """Adds a line, in one write, after whatever is whole in the file."""
  file.parent.mkdir(parents=True, exist_ok=True)
  with file.open("ab+") as opened:
    opened.seek(0)
    # Half of a line, of a process that was cut while it wrote.
    opened.truncate(opened.read().rfind(b"\n") + 1)
    opened.write(json.dumps(line).encode() + b"\n")
    opened.flush()
    os.fsync(opened.fileno())


def lines(file: Path) -> list[Line]:
  """All whole lines of a file."""
  if not file.exists():
    return []
  text = file.read_text()
  return [json.loads(x) for x in text[: text.rfind("\n") + 1].splitlines()]


def table(experiment: Experiment, found: Sequence[Line]) -> Iterator[Line]:
  """A row for each arm: how many seeds, mean and deviation of each figure.

  Args:
    experiment: lines of other configs than its own are left out.
    found: lines of its file.
  """
  stand = {(x["arm"], x["seed"], x["digest"]): x["figures"] for x in found}
  for arm in experiment.arms:
    own = [
      stand[key]
      for seed in experiment.seeds
      if (key := (arm, seed, experiment.digest(arm, seed))) in stand
    ]
    row: Line = {"arm": arm, "seeds": len(own)}
    for name in experiment.figures:
      row[name] = harness.spread([x[name] for x in own]) if own else ""
    yield row


def _commit() -> str:
  """The commit of the code, with a + if files differ from it."""

  def git(*arguments: str) -> str:
    done = subprocess.run(
      ["git", *arguments],
      cwd=_ROOT,
      capture_output=True,
      text=True,
      check=False,
    )
    return done.stdout.strip()

  # The results themselves always differ.
  changed = git("status", "--porcelain", "--", ":!benchmarks/results")
  return git("rev-parse", "--short=12", "HEAD") + "+" * bool(changed)


def _train(arguments: Sequence[str]) -> int:
  """Runs train.py in a process of its own; gives its exit code."""
  command = [sys.executable, str(_ROOT / "train.py"), *arguments]
  return subprocess.run(command, cwd=_ROOT, check=False).returncode


def main(argv: Sequence[str] | None = None) -> None:
  """Runs or prints what was asked for."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "name", nargs="?", metavar="NAME", choices=[*names(), None]
  )
  parser.add_argument("--list", action="store_true", help="what there is")
  parser.add_argument("--table", action="store_true", help="run nothing")
  parser.add_argument(
    "--runs",
    type=Path,
    default=_ROOT / "runs",
    metavar="DIR",
    help="folder of the workdirs while they run; runs by default",
  )
  args = parser.parse_args(argv)
  if args.list or not args.name:
    for name in names():
      print(f"{name}: {load(name).question}")
    return
  experiment = load(args.name)
  file = _RESULTS / f"{args.name}.jsonl"
  if not args.table:
    run(experiment, file, args.runs, _train)
  print(f"\n{experiment.question}\n")
  harness.tell(table(experiment, lines(file)))


if __name__ == "__main__":
  main()
