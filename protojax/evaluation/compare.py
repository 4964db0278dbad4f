"""Trains several methods on the same data and seeds, and measures them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from protojax import typed
from protojax.engine import seeds, workdir
from protojax.evaluation.measure import over_seeds
from protojax.methods import later
from protojax.metrics.means import Mean
from protojax.operations.training import train
from protojax.types import UserError

Measure = Callable[[Path], dict[str, Mean]]


class Stopped(Exception):
  """A signal stopped training; `code` is the exit code of the command."""

  def __init__(self, code: int) -> None:
    super().__init__(code)
    self.code = code


def methods(
  configs: Mapping[str, ConfigDict], root: Path, measure: Measure
) -> dict[str, Any]:
  """Trains, or resumes, and measures every seed of every method.

  Args:
    configs: method -> config, with its seeds.
    root: the runs are ROOT/METHOD, or ROOT/METHOD/seed-N.
    measure: metrics of a finished run.

  Returns:
    {"methods": {name: {metric: {"mean", "std", "n", "left_out"}}}}.

  Raises:
    Stopped: by a signal; the same call resumes.
  """
  found = {}
  for name, config in configs.items():
    measured = []
    for folder, of_seed in seeds.runs(root / name, config).items():
      if code := train(folder, of_seed):
        raise Stopped(code)
      measured.append(measure(folder))
    found[name] = over_seeds(measured)
  return {"methods": found}


def one(folder: Path, measure: Measure) -> dict[str, Any]:
  """Measures a finished run, or all seeds of one, as `methods` does.

  Raises:
    UserError: there is no run, or one that is not trained to its end.
  """
  places = sorted(folder.glob("seed-*/config.json"))
  folders = [place.parent for place in places] or [folder]
  name = workdir.load_config(folders[0], later).method
  for place in folders:
    if not (place / "summary.json").exists():
      raise UserError(
        f"{place} is not trained to its end: finish it with"
        f" {typed.command('train')} first"
      )
  return {"methods": {name: over_seeds([measure(p) for p in folders])}}


def chosen(names: str) -> Sequence[str]:
  """The names in a list with commas, each once."""
  return tuple(dict.fromkeys(filter(None, map(str.strip, names.split(",")))))
