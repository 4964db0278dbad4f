"""The same config with several seeds: mean and deviation of what they reach.

Each seed is a run of its own in a folder of its own, which goes on, is finished
and is explained like any other.
"""

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import statistics
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from protojax.engine import workdir
from protojax.types import UserError

# Of a run's summary, what is compared between seeds.
_COMPARED = ("accuracy", "metrics", "validation")


def runs(folder: Path, config: ConfigDict) -> dict[Path, ConfigDict]:
  """The folder and config of each run that a config asks for.

  Args:
    folder: of the one run, or of the folders of all seeds.
    config: with `seeds` of them, from `seed` on.

  Raises:
    UserError: no seed is asked for, or the folder holds a single run already.
  """
  if config.seeds < 1:
    raise UserError(f"--config.seeds is {config.seeds}; it must be 1 or more.")
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
    folder: above all runs.
    places: the folders of the finished runs.

  Returns:
    "seeds", and for "accuracy", "metrics" and "validation" by name the "mean",
    the "deviation" (that of a sample, over n - 1) and the "values" by seed.
    With images held out to validate on also "best", the seed with the highest
    accuracy there.
  """
  summaries = [json.loads((p / "summary.json").read_text()) for p in places]
  content: dict[str, Any] = {
    "seeds": [summary["seed"] for summary in summaries],
    **{
      part: _compared([summary[part] for summary in summaries])
      for part in _COMPARED
      if part in summaries[0]
    },
  }
  if "accuracy" in content.get("validation", {}):
    values = content["validation"]["accuracy"]["values"]
    content["best"] = content["seeds"][values.index(max(values))]
  workdir.write_json(folder / "summary.json", content)
  return content


def _compared(values: Sequence[Mapping[str, float]]) -> dict[str, Any]:
  found = {}
  for name in values[0]:
    column = [value[name] for value in values]
    found[name] = {
      "mean": statistics.fmean(column),
      "deviation": statistics.stdev(column),
      "values": column,
    }
  return found


def show(summary: Mapping[str, Any], console: Console | None = None) -> None:
  """Prints a table: what each seed reaches, the mean and the deviation."""
  heads = [f"seed {seed}" for seed in summary["seeds"]]
  table = Table("", *heads, "mean", "deviation", box=None, pad_edge=False)
  part = next(part for part in _COMPARED if part in summary)
  for name, row in summary[part].items():
    numbers = (*row["values"], row["mean"], row["deviation"])
    table.add_row(name.replace("_", " "), *(f"{n:.3f}" for n in numbers))
  for column in table.columns[1:]:
    column.justify = "right"
  console = console or Console()
  console.print(table)
  if "best" in summary:
    console.print(f"Best on the validation images: seed {summary['best']}")
