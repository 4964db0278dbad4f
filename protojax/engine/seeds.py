"""Runs of one config with several seeds: mean and deviation of their metrics.

Each seed is a run in its own folder, and is resumed and explained like any
other run.
"""

from collections.abc import Mapping, Sequence
import math
from pathlib import Path
import statistics
from typing import Any, NotRequired, TypedDict

from ml_collections import ConfigDict
from rich.table import Table

from protojax import json_files, ranges
from protojax.console import Console
from protojax.engine import workdir
from protojax.types import UserError

# Entries of a run's summary that are compared between seeds.
_COMPARED = ("accuracy", "metrics", "validation")

_WAY_OUT = "restore it, or train this seed anew in an empty folder"


class _Summary(TypedDict):
  """What is compared of a run's summary.json."""

  seed: int
  accuracy: NotRequired[dict[str, float | None]]
  metrics: NotRequired[dict[str, float | None]]
  validation: NotRequired[dict[str, float | None]]
  headline: NotRequired[str]


def runs(folder: Path, config: ConfigDict) -> dict[Path, ConfigDict]:
  """The folder and config of each run that a config asks for.

  Args:
    folder: of the single run; with several seeds, above the folders of all.
    config: `seeds` is the number of runs, `seed` the seed of the first.

  Raises:
    UserError: a seed is out of range, or the folder holds a single run already.
  """
  ranges.require(config)
  last = config.seed + config.seeds - 1
  if last not in (known := ranges.EVERYWHERE["seed"]):
    raise UserError(
      f"--config.seed={config.seed} with --config.seeds={config.seeds} ends at"
      f" seed {last}; a seed must be {known}"
    )
  if config.seeds == 1:
    return {folder: config}
  if workdir.has_begun(folder):
    raise UserError(
      f"{folder} holds a single run; take another --workdir for"
      f" --config.seeds={config.seeds}."
    )
  found = {}
  for seed in range(config.seed, config.seed + config.seeds):
    of_seed = config.copy_and_resolve_references().unlock()
    of_seed.update(seed=seed, seeds=1)
    found[folder / f"seed-{seed}"] = of_seed.lock()
  return found


def write(folder: Path, places: Sequence[Path]) -> dict[str, Any]:
  """Writes FOLDER/summary.json and returns what it holds.

  Args:
    folder: above the folders of all runs.
    places: the folders of the finished runs.

  Returns:
    "seeds"; of each metric in "accuracy", "metrics" and "validation" the
    "mean", the "deviation" (of a sample: over n - 1) and the "values" by seed;
    with validation images also "best", the seed that is best on them, by the
    metric "headline": the one that the method names, or else "accuracy".
  """
  summaries = [
    json_files.read_json(place / "summary.json", _Summary, _WAY_OUT)
    for place in places
  ]
  tables = [
    {entry: summary[entry] for entry in _COMPARED if entry in summary}
    for summary in summaries
  ]
  names = [{(e, n) for e in table for n in table[e]} for table in tables]
  for place, own in zip(places, names, strict=True):
    if own != names[0] or not own:
      raise UserError(
        f"{place}/summary.json has other metrics than that in {places[0]}, or"
        f" none: {_WAY_OUT}"
      )
  content: dict[str, Any] = {
    "seeds": [summary["seed"] for summary in summaries],
    **{
      entry: _compared([table[entry] for table in tables])
      for entry in tables[0]
    },
  }
  headline = summaries[0].get("headline", "accuracy")
  if headline in content.get("validation", {}):
    values = content["validation"][headline]["values"]
    best = max(values, key=lambda value: (not math.isnan(value), value))
    content["best"] = content["seeds"][values.index(best)]
    content["headline"] = headline
  workdir.write_json(folder / "summary.json", content)
  return content


def _compared(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  found = {}
  for name in values[0]:
    # null stands for what is not defined.
    numbers = (value[name] for value in values)
    column = [math.nan if one is None else float(one) for one in numbers]
    found[name] = {
      "mean": statistics.fmean(column),
      "deviation": _deviation(column),
      "values": column,
    }
  return found


def _deviation(column: Sequence[float]) -> float:
  # `statistics` computes with fractions, which have no nan and no infinity.
  try:
    return statistics.stdev(column)
  except (AttributeError, OverflowError, ValueError):
    return math.nan


def show(summary: Mapping[str, Any], console: Console | None = None) -> None:
  """Prints a table: metrics of each seed, their mean and deviation."""
  heads = [f"seed {seed}" for seed in summary["seeds"]]
  table = Table("", *heads, "mean", "deviation", box=None, pad_edge=False)
  entry = next(entry for entry in _COMPARED if entry in summary)
  for name, row in summary[entry].items():
    numbers = (*row["values"], row["mean"], row["deviation"])
    table.add_row(name.replace("_", " "), *(f"{n:.3f}" for n in numbers))
  for column in table.columns[1:]:
    column.justify = "right"
  console = console or Console()
  console.print(table)
  if "best" in summary:
    console.print(
      f"Best on the validation images: seed {summary['best']}, by"
      f" {summary['headline'].replace('_', ' ')}"
    )
