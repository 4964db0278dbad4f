"""Finds methods by name: a folder here with a module `method` is a method.

That module has the class `Method`. Nothing is registered.
"""

from collections.abc import Callable
import difflib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from protojax.types import UserError

if TYPE_CHECKING:
  from protojax.methods.base import Method


_FOLDER = Path(__file__).parent

# (config, class names of a run that was trained, or None) -> the method.
Make = Callable[[ConfigDict, tuple[str, ...] | None], "Method"]


def names() -> tuple[str, ...]:
  """The names of all methods."""
  return tuple(sorted(p.parent.name for p in _FOLDER.glob("*/method.py")))


def load(
  config: ConfigDict, class_names: tuple[str, ...] | None = None
) -> "Method":
  """`protojax.methods.NAME.method.Method(config, class_names)`, made by name.

  Args:
    config: of the run; its key "method" is the name.
    class_names: of a run that was trained; None reads them from the data set.

  Raises:
    UserError: there is no such method.
  """
  if config.method not in names():
    near = difflib.get_close_matches(config.method, names(), 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UserError(
      f"config.method is {config.method!r}; expected one of"
      f" {', '.join(names())}.{hint}"
    )
  module = importlib.import_module(f"{__name__}.{config.method}.method")
  return module.Method(config, class_names)
