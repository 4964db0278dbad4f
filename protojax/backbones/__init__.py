"""Backbones by name: image -> features.

The modules of this package are the registry: one that declares `NAMES` and
`load(name)` is a backbone, and no table has to be edited to add one.
"""

import difflib
import importlib
import pkgutil
from types import ModuleType

from protojax.backbones.base import Backbone, Layer, Level
from protojax.types import UserError

__all__ = ["Backbone", "Layer", "Level", "load", "names"]


def names() -> tuple[str, ...]:
  """The backbones there are, in alphabetical order."""
  return tuple(sorted(_modules()))


def load(name: str) -> Backbone:
  """The backbone of that name; raises UserError where there is none."""
  modules = _modules()
  if name not in modules:
    near = difflib.get_close_matches(name, modules, n=1, cutoff=0.4)
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(
      f"unknown backbone '{name}': {guess}There are: {', '.join(names())}."
    )
  return modules[name].load(name)


def _modules() -> dict[str, ModuleType]:
  """The module behind each name."""
  found = {}
  for entry in pkgutil.iter_modules(__path__):
    module = importlib.import_module(f"{__name__}.{entry.name}")
    found.update(dict.fromkeys(getattr(module, "NAMES", ()), module))
  return found
