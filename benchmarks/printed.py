"""Tables in README and docs that the lines of an experiment give.

Such a table has a mark above it:

  <!-- results: NAME -->

It is what the lines of the experiment give. When a config, FIGURES or SETTINGS
change, the lines do not stand any more. Then the table is measured anew, or the
paragraph below it says before which change it was measured, with the words
"not measured since".
"""

from collections.abc import Iterator
from pathlib import Path
import re
import subprocess
from typing import NamedTuple

from benchmarks import experiment as experiments
from benchmarks import harness, lines
from benchmarks.experiment import ROOT, Experiment

_MARKED = re.compile(
  r"^<!-- results: (?P<name>\w+) -->\n"
  r"(?P<table>(?:\|.*\n)*)(?P<below>\n(?:.+\n)*)?",
  re.MULTILINE,
)
_OLD = "not measured since"
_UNMARKED = (
  "not all its lines stand: a config, FIGURES or SETTINGS changed. Measure it"
  " anew (python benchmarks/results.py {name}), or let the paragraph below it"
  " say before which change it was measured, and {old!r}"
)


class Printed(NamedTuple):
  """A table in a document.

  Attributes:
    file: of the document.
    name: of its experiment.
    table: its lines.
    below: the paragraph below it.
  """

  file: Path
  name: str
  table: str
  below: str


def documents() -> list[Path]:
  """README, docs, and the page of the benchmarks."""
  pages = sorted((ROOT / "docs").glob("*.md"))
  return [ROOT / "README.md", *pages, ROOT / "benchmarks" / "README.md"]


def tables(file: Path) -> list[Printed]:
  """The tables of a document that have a mark."""
  return [
    Printed(file, found["name"], found["table"], found["below"] or "")
    for found in _MARKED.finditer(file.read_text("utf-8"))
  ]


def fault(table: Printed, experiment: Experiment) -> str:
  """What is wrong with a table, and the way out; '' if nothing is."""
  old = _OLD in " ".join(table.below.split())
  if not _complete(experiment):
    return "" if old else _UNMARKED.format(name=table.name, old=_OLD)
  if old:
    return f"its lines stand, but the text below it says {_OLD!r}"
  if table.table != _markdown(experiment):
    return "it is not what its lines give: python benchmarks/results.py --docs"
  return ""


def write() -> None:
  """Writes the tables whose lines stand into the documents."""
  for file in documents():
    text = file.read_text("utf-8")
    for table in tables(file):
      experiment = experiments.load(table.name)
      if _complete(experiment):
        mark = f"<!-- results: {table.name} -->\n"
        new = mark + _markdown(experiment)
        text = text.replace(mark + table.table, new)
    file.write_text(text, "utf-8")


def stale() -> Iterator[str]:
  """Says of each table whether it stands, and what changed under it since."""
  for file in documents():
    for table in tables(file):
      experiment = experiments.load(table.name)
      stands = "stands" if _complete(experiment) else "is said to be old"
      told = fault(table, experiment) or stands
      yield f"{file.relative_to(ROOT)}: {table.name}: {told}"
      yield from (f"  {told}" for told in _since(experiment))


def _since(experiment: Experiment) -> Iterator[str]:
  """Commits to what an experiment rests on since its lines were measured."""
  commits = {line["commit"].rstrip("+") for line in _lines(experiment)}
  if not commits:
    return
  first = git("merge-base", "--octopus", *commits)
  if not first:
    yield f"measured at {', '.join(commits)}, which this repository lacks"
    return
  log = git("log", "--oneline", f"{first}..HEAD", "--", *experiment.rests_on())
  changes = log.splitlines()
  yield f"measured at {first[:12]}; {len(changes)} commits since"
  yield from changes


def _lines(experiment: Experiment) -> list[lines.Line]:
  """Those that stand."""
  found = lines.read(lines.path(experiment.name))
  return [
    x for of_arm in lines.standing(experiment, found).values() for x in of_arm
  ]


def _complete(experiment: Experiment) -> bool:
  """Whether the lines of all runs stand."""
  runs = len(experiment.arms) * len(experiment.seeds)
  return len(_lines(experiment)) == runs


def _markdown(experiment: Experiment) -> str:
  """The table that the lines of an experiment give."""
  rows = lines.table(experiment, lines.read(lines.path(experiment.name)))
  return "".join(harness.markdown(row, not n) for n, row in enumerate(rows))


def git(*arguments: str) -> str:
  """What git says of this repository; nothing if it fails."""
  done = subprocess.run(
    ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
  )
  return done.stdout.strip() if not done.returncode else ""
