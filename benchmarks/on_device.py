"""One command for the day an accelerator is at hand: checks first, then rows.

Behind `python benchmarks/accelerators.py run`. Each task works in a process of
its own with a limit of time, so that one that fails or hangs costs its own rows
alone. A row is printed and appended to the file as soon as it is there.
"""

import argparse
from collections.abc import Iterator
from concurrent import futures
import dataclasses
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import harness

_SCRIPT = Path(__file__).with_name("accelerators.py")
_ROOT = Path(__file__).parents[1]
# Of the whole time: what checks may take before the first row; those that are
# left over come after the rows.
_CHECKED = 0.4
# Seconds that a task needs at least: imports and the device's start.
_LEAST = 10
# Checks at a time, each with at most one process; cores of each.
_MOST_AT_ONCE, _CORES = 6, 2


@dataclasses.dataclass(frozen=True)
class Task:
  """What one process does.

  Attributes:
    name: as `--only` takes it.
    seconds: the most it may take.
    beside: the same is done on CPU first, and the numbers are compared.
    check: it checks, and measures nothing.
  """

  name: str
  seconds: float
  beside: bool = False
  check: bool = False


@dataclasses.dataclass(frozen=True)
class Journal:
  """Prints each row, and appends it to a file as a line of JSON.

  Attributes:
    file: '' for none.
  """

  file: str

  def add(self, row: harness.Row) -> None:
    """One line, written whole: several processes append to the file."""
    told = (f"{name}: {value}" for name, value in row.items() if value != "")
    sys.stdout.write(f"{'; '.join(told)}\n")
    sys.stdout.flush()
    if self.file:
      with open(self.file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def run(args: argparse.Namespace, tasks: list[Task]) -> int:
  """All tasks, the most important first; 1 if a check or a task failed."""
  began = time.monotonic()
  with tempfile.TemporaryDirectory() as folder:
    work = _Work(args, Path(folder), began + 60 * args.minutes)
    if not work.done(Task("machine", 120)):
      return 2
    left = work.checked(
      [task for task in tasks if task.check],
      began + _CHECKED * 60 * args.minutes,
    )
    for task in (task for task in tasks if not task.check):
      work.done(task)
    left = work.checked(left, work.deadline)
    for task in left:
      work.journal.add({"row": task.name, "result": "not reached"})
    end = {
      "row": "end",
      "seconds": round(time.monotonic() - began, 1),
      "failed": ", ".join(work.failed) or "nothing",
    }
    work.journal.add(end)
  return 1 if work.failed else 0


class _Work:
  """Starts processes, and knows which tasks failed.

  Attributes:
    deadline: of everything, by the clock of `time.monotonic`.
    journal: takes what the processes themselves do not tell.
    failed: names.
  """

  def __init__(
    self, args: argparse.Namespace, folder: Path, deadline: float
  ) -> None:
    self.deadline, self.failed = deadline, []
    self.journal = Journal(args.json)
    self._args, self._folder = args, folder

  def checked(self, tasks: list[Task], until: float) -> list[Task]:
    """Does checks, several at a time; those for which no time was left."""
    cores = len(os.sched_getaffinity(0))
    workers = max(1, min(_MOST_AT_ONCE, cores // _CORES))
    left: list[Task] = []

    def one(task: Task) -> None:
      if time.monotonic() > until - _LEAST:
        left.append(task)
      else:
        self.done(task)

    with futures.ThreadPoolExecutor(workers) as pool:
      list(pool.map(one, tasks))
    return [task for task in tasks if task in left]

  def done(self, task: Task) -> bool:
    """Whether a task ran to its end."""
    until = min(self.deadline, time.monotonic() + task.seconds)
    if self.deadline - time.monotonic() < _LEAST:
      self.journal.add({"row": task.name, "result": "not reached"})
      return False
    roles = ("cpu", "device") if task.beside else ("device",)
    for role in roles:
      if fault := self._process(task, role, until):
        self.failed.append(task.name)
        self.journal.add({"row": task.name, "result": f"failed: {fault}"})
        return False
    return True

  def _process(self, task: Task, role: str, until: float) -> str:
    """Runs one; '' or what went wrong."""
    command = [sys.executable, str(_SCRIPT), "work", task.name, role]
    command += ["--folder", str(self._folder), "--json", self._args.json]
    command += ["--until", str(until - time.monotonic())]
    command += ["--quick"] * self._args.quick
    log = self._folder / f"{task.name}-{role}.log"
    with log.open("w") as errors:
      process = subprocess.Popen(
        command,
        cwd=_ROOT,
        env=_environment(role, self._args.quick, task.check),
        stderr=errors,
      )
      try:
        code = process.wait(max(1.0, until - time.monotonic()))
      except subprocess.TimeoutExpired:
        return f"{role} took longer than its time"
      finally:
        if process.poll() is None:
          process.kill()
          process.wait()
    if not code:
      return ""
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"{role} ended with {code}: {lines[-1][:300] if lines else ''}"


def _environment(role: str, quick: bool, check: bool) -> dict[str, str]:
  """Of a process: its platform, and memory that other processes share."""
  found = {
    **os.environ,
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "PYTHONUNBUFFERED": "1",
    # One device, whatever the machine has.
    "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
  }
  if role == "cpu" or quick:
    found["JAX_PLATFORMS"] = "cpu"
  if check:
    # Products of float32 are otherwise of TF32 on a GPU.
    found["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
  return found


def rows(file: str) -> list[harness.Row]:
  """The lines of a run, the last one cut off perhaps."""
  found = []
  for line in Path(file).read_text(encoding="utf-8").splitlines():
    try:
      found.append(json.loads(line))
    except ValueError:
      continue
  return found


def tables(found: list[harness.Row]) -> Iterator[str]:
  """Markdown of the lines of a run: rows of the same columns in one table."""
  last: Any = None
  for row in found:
    head = tuple(row) != last
    if head and last is not None:
      yield "\n"
    last = tuple(row)
    yield harness.markdown(row, head)
