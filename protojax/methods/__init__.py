"""Finds methods by name: a folder here with a module `method` is a method.

That module has the class `Method`. A dotted name is a user's own module, which
has that class. Nothing is registered. Further modules beside it are found, too:

- `earlier` has `LATER`: config keys that earlier runs were written without ->
  the value that does what those runs did.
- `notes` has `NOTES`: name of a note that the method gives on prototypes ->
  what it means.
- `foreign` reads checkpoints that other code has trained: `recognised(module)`,
  `read(module, arch, image_size)`, whose result has `notes` and `classes`;
  `settings(found)` (config keys), `state(found, template, method)`,
  `pushed(method, state)`, `described(found)` (a line), `config(found)` (for
  what a checkpoint does not tell); `SYSTEMS` (what it reads); and, where the
  method has fixed classes, `CLASS_NAMES`.
- `foreign_config` translates configs of other code: `recognised(keys)` of
  the architecture, `FILES` (name of a file -> function from its keys to ours),
  `matches(key, value)` for keys that need no setting, and `TEXT` of the config.
- `pages` has `pages(method, state, workdir)`: special pages of the report.
- `results` has `write(method, state, workdir)`: files of a finished run that
  stand beside its summary.json.
"""

from collections.abc import Callable, Iterable, Mapping
import functools
import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from protojax import finding

if TYPE_CHECKING:
  from protojax.methods.base import Method
  from protojax.types import State

_SETTING = "config.method"
_FOLDER = Path(__file__).parent

# (config, class names of a run that was trained, or None) -> the method.
Make = Callable[[ConfigDict, tuple[str, ...] | None], "Method"]


def names() -> tuple[str, ...]:
  """The names of all methods."""
  return tuple(sorted(p.parent.name for p in _FOLDER.glob("*/method.py")))


def find(name: str) -> Any:
  """The class of a method.

  Raises:
    UserError: there is no such method.
  """
  if finding.is_own(name):
    return finding.own(name, ("Method",), _SETTING).Method
  if name not in names():
    raise finding.unknown(_SETTING, name, names())
  return importlib.import_module(f"{__name__}.{name}.method").Method


def later(name: str) -> Mapping[str, Any]:
  """Config keys that earlier runs of a method were written without.

  Key -> the value that does what those runs did: `LATER` of the module
  `earlier` beside the method's.
  """
  module = beside(name, "earlier")
  return module.LATER if module else {}


def notes(name: str) -> Mapping[str, str]:
  """Name of a note that a method gives on prototypes -> what it means.

  `NOTES` of the module `notes` beside the method's.
  """
  module = beside(name, "notes")
  return module.NOTES if module else {}


def pages(
  name: str, method: Any, state: "State", workdir: Path
) -> Callable[[], Iterable[Any]] | None:
  """Makes the special pages of a method when called; None if it has none.

  `pages(method, state, workdir)` of the module `pages` beside the method's
  gives each as a `report.special_pages.Page`.

  Args:
    name: of the method.
    method: itself.
    state: that is explained.
    workdir: of the run.
  """
  module = beside(name, "pages")
  if module is None:
    return None
  return functools.partial(module.pages, method, state, workdir)


def parts(part: str) -> dict[str, ModuleType]:
  """Method -> the module of this name that lies beside it, where there is one.

  Args:
    part: name of the module, such as "foreign".
  """
  found = {name: beside(name, part) for name in names()}
  return {name: module for name, module in found.items() if module}


def beside(name: str, part: str) -> ModuleType | None:
  """A module that lies beside a method's, if there is one.

  Args:
    name: of the method, or a user's own module.
    part: name of the module, such as "notes".
  """
  place = name.rpartition(".")[0] or f"{__name__}.{name}"
  if not finding.is_module(f"{place}.{part}"):
    return None
  return importlib.import_module(f"{place}.{part}")


def load(
  config: ConfigDict, class_names: tuple[str, ...] | None = None
) -> "Method":
  """`Method(config, class_names)` of protojax/methods/NAME/method.py.

  Args:
    config: of the run; its key "method" is the name, or that of a user's own
      module, with a dot.
    class_names: of a run that was trained; None reads them from the data set.

  Raises:
    UserError: there is no such method.
  """
  return find(config.method)(config, class_names)
