"""The lines of an experiment: what its runs gave, one of JSON for each."""

from collections.abc import Iterator, Mapping, Sequence
import json
import os
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.experiment import ROOT, Experiment

Line = dict[str, Any]


def path(name: str) -> Path:
  """Where the lines of an experiment stand."""
  return ROOT / "benchmarks" / "results" / f"{name}.jsonl"


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


def read(file: Path) -> list[Line]:
  """All whole lines of a file."""
  if not file.exists():
    return []
  text = file.read_text()
  return [json.loads(x) for x in text[: text.rfind("\n") + 1].splitlines()]


def standing(
  experiment: Experiment, found: Sequence[Line]
) -> dict[str, list[Line]]:
  """Arm -> the lines that stand, by seed; the last of each.

  Args:
    experiment: a line stands if its digest is that of the experiment now.
    found: lines of its file.
  """
  by_run = {(x["arm"], x["seed"], x["digest"]): x for x in found}
  return {
    arm: [
      by_run[key]
      for seed in experiment.seeds
      if (key := (arm, seed, experiment.digest(arm, seed))) in by_run
    ]
    for arm in experiment.arms
  }


def table(
  experiment: Experiment, found: Sequence[Line]
) -> Iterator[harness.Row]:
  """The rows of an experiment's table; arms without a line are left out."""
  stand = {
    arm: {line["seed"]: line["figures"] for line in of_arm}
    for arm, of_arm in standing(experiment, found).items()
    if of_arm
  }
  if stand:
    yield from experiment.table(stand)
