"""Finds modules: ours by their names, a user's own by a name with a dot.

Nothing is registered. A module of one of our packages is found by its name, if
it declares what is needed, such as a function `load`. A dotted name, such as
`mypackage.shapes`, is a module of the user's own and is imported as it is.
"""

import ast
from collections.abc import Iterable, Iterator
import difflib
import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from types import ModuleType
from typing import Any

from protojax.errors import UserError


def names(package: str, needed: str) -> tuple[str, ...]:
  """Names of the modules of a package that declare something, sorted.

  The modules are read and not imported, because some bring much along.

  Args:
    package: such as "protojax.datasets".
    needed: name of a function, class or constant.
  """
  declared = re.compile(
    rf"^(?:(?:def|class) {needed}\b|{needed}(?:: [^=\n]+)? = )", re.MULTILINE
  )
  found = _sources(package)
  return tuple(sorted({n for n, text in found if declared.search(text)}))


def constants(package: str, name: str) -> dict[str, Any]:
  """Module -> its value of a constant, sorted; of those that declare it.

  The modules are read and not imported.

  Args:
    package: such as "protojax.datasets".
    name: of the constant, whose value is a literal.
  """
  declared = re.compile(rf"^{name} = ", re.MULTILINE)
  found = {}
  for module, text in _sources(package):
    if start := declared.search(text):
      # To parse what stands before it would take longer than all the rest.
      found[module] = _first_value(text[start.start() :])
  return dict(sorted(found.items()))


def _sources(package: str) -> Iterator[tuple[str, str]]:
  """(name, text) of the modules of a package."""
  for folder in importlib.import_module(package).__path__:
    for file in os.listdir(folder):
      name, suffix = os.path.splitext(file)
      if suffix == ".py" and name.isidentifier():
        with open(os.path.join(folder, file), encoding="utf-8") as text:
          yield name, text.read()


def _first_value(text: str) -> Any:
  """The literal that a text begins to assign."""
  first = ast.parse(text).body[0]
  assert isinstance(first, ast.Assign)
  return ast.literal_eval(first.value)


def is_own(name: str) -> bool:
  """Whether a name is that of a user's own module: `mypackage.shapes`."""
  parts = name.split(".")
  return len(parts) > 1 and all(part.isidentifier() for part in parts)


def is_module(name: str) -> bool:
  """Whether there is a module of this name, with or without dots."""
  _look_here()
  try:
    return importlib.util.find_spec(name) is not None
  except ModuleNotFoundError:
    return False


def own(
  name: str, needed: Iterable[str], setting: str, said: str = ""
) -> ModuleType:
  """A user's own module.

  It is looked for in the current folder, too.

  Args:
    name: with dots, as in an import.
    needed: what the module must declare.
    setting: what names it, for messages, such as "config.method".
    said: the name that was given, where it is that of something in the module.

  Raises:
    UserError: there is no such module, or it does not declare what is needed.
  """
  given = f"{setting} is {(said or name)!r}"
  _look_here()
  try:
    module = importlib.import_module(name)
  except ModuleNotFoundError as error:
    missing = error.name or ""
    # Otherwise it is there, and imports something that is not.
    if name == missing or name.startswith(f"{missing}."):
      raise UserError(
        f"{given}: there is no module {missing!r} in the current folder or"
        " among the installed packages."
      ) from error
    raise
  absent = [each for each in needed if not hasattr(module, each)]
  if absent:
    no = f"the module {module.__file__ or name} does not declare"
    if said:
      no = f"there is no module of that name, and {no}"
    raise UserError(
      f"{given}: {no} {' and '.join(absent)}.{_nearest(said, module)}"
    )
  return module


def _nearest(said: str, package: ModuleType) -> str:
  """A hint at the module of a package that was meant, or nothing."""
  places = getattr(package, "__path__", [])
  known = [f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(places)]
  near = difflib.get_close_matches(said, known, 1)
  return f" Did you mean {near[0]!r}?" if near else ""


def unknown(setting: str, name: str, known: Iterable[str]) -> UserError:
  """A `UserError`: what was named is not known, but these are.

  Args:
    setting: what names it, such as "config.method".
    name: that was given.
    known: all names.
  """
  known = sorted(known)
  near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
  # The hint comes first: there may be a hundred names.
  hint = f". Did you mean {near[0]!r}? Expected" if near else "; expected"
  return UserError(
    f"{setting} is {name!r}{hint} one of {', '.join(known)}, or a module of"
    " your own, such as mypackage.mine."
  )


def _look_here() -> None:
  """Lets modules in the current folder be found, after all others."""
  here = os.getcwd()
  if not {"", here} & set(sys.path):
    sys.path.append(here)
