"""The summary of a finished run: summary.json, and tables on the screen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
import platform
from typing import Any

from rich.table import Table

from protojax import installed, parallel
from protojax.console import Console
from protojax.engine.workdir import write_json

_PACKAGES = ("protojax", "jax", "jaxlib", "flax", "optax", "numpy")


def write(
  workdir: Path,
  stages: Sequence[Mapping[str, Any]],
  seed: int,
  of_method: Mapping[str, Any],
) -> dict[str, Any]:
  """Writes WORKDIR/summary.json and returns what it holds.

  Args:
    workdir: the run's folder.
    stages: id, seconds, images per second and metrics of every stage.
    seed: the run's.
    of_method: entries that the method adds.
  """
  versions = installed.versions(_PACKAGES)
  last = stages[-1]
  content = {
    "metrics": last["metrics"],
    **({"validation": last["validation"]} if "validation" in last else {}),
    **of_method,
    "stages": stages,
    "versions": {"python": platform.python_version(), **versions},
    "devices": parallel.describe(),
    "seed": seed,
  }
  if parallel.is_primary():
    write_json(workdir / "summary.json", content)
  return content


def show(summary: Mapping[str, Any], console: Console | None = None) -> None:
  """Prints the stages and the outcome as two tables.

  The table of the stages has the metric that the method names as "headline", if
  some stage has it.
  """
  console = console or Console()
  headline = summary.get("headline", "accuracy")
  values = [stage["metrics"].get(headline) for stage in summary["stages"]]
  known = any(value is not None for value in values)
  stages = Table("stage", "seconds", "images/s", box=None, pad_edge=False)
  if known:
    stages.add_column(headline)
  for stage, value in zip(summary["stages"], values, strict=True):
    row = [
      stage["id"],
      f"{stage['seconds']:.1f}",
      f"{stage['images_per_second']:,.0f}",
    ]
    if known:
      row.append("" if value is None else f"{value:.3f}")
    stages.add_row(*row)
  for column in stages.columns[1:]:
    column.justify = "right"
  outcome = Table(show_header=False, box=None, pad_edge=False)
  for name, value in summary.get("accuracy", {}).items():
    outcome.add_row(f"accuracy {name.replace('_', ' ')}", f"{value:.3f}")
  if "accuracy" in summary.get("validation", {}):
    value = summary["validation"]["accuracy"]
    outcome.add_row("accuracy on validation images", f"{value:.3f}")
  if "accuracy" not in summary:
    for name, value in summary["metrics"].items():
      outcome.add_row(name, f"{value:.4g}")
  if "prototypes" in summary:
    alive, count = summary["alive"], summary["prototypes"]
    outcome.add_row("prototypes alive", f"{alive} of {count}")
  if "duplicates" in summary:
    outcome.add_row("duplicates", str(summary["duplicates"]))
  console.print(stages)
  console.print()
  console.print(outcome)


def milestones(stages: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """Accuracy before and after the last push, after last layer and pruning."""
  names = [stage["id"].split("-", 1)[1] for stage in stages]
  accuracy = [stage["metrics"]["accuracy"] for stage in stages]
  last = len(names) - 1 - names[::-1].index("push")
  found = {
    "before_push": accuracy[last - 1],
    "after_push": accuracy[last],
    "after_last_layer": accuracy[last + 1],
  }
  if "last-layer-after-prune" in names:
    found["after_prune"] = accuracy[names.index("last-layer-after-prune")]
  return found
