"""Loads configs and networks of any method, for `evaluate`.

A recipe is what follows the method in a config's name: "folder" in
configs/protopnet_folder.py. A user's own method has it beside its module:
mypackage/glvq/config_folder.py for mypackage.glvq.method.
"""

from collections.abc import Mapping
import importlib
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from protojax import configuration, finding, methods
from protojax.methods.base import needed
from protojax.prototypes.explainable import Explainable
from protojax.types import UserError


def load(
  method: str,
  recipe: str,
  variants: str = "",
  changes: Mapping[str, Any] | None = None,
) -> ConfigDict:
  """The config of a method for a recipe.

  Args:
    method: its name, or that of a user's own module, with a dot.
    recipe: such as "folder" or "planted".
    variants: of the config, with commas between them.
    changes: key, such as "data.root" -> its value.

  Raises:
    UserError: there is no such method, or no config of it for the recipe, or
      the config does not have a key.
  """
  config = _module(method, recipe).get_config(variants).unlock()
  for key, value in (changes or {}).items():
    *groups, last = key.split(".")
    holder = config
    for group in groups:
      holder = holder.get(group, {})
    if last not in holder:
      raise UserError(
        f"{key}={value} cannot be set: the config of {method} for {recipe} has"
        " no such key"
      )
    holder[last] = value
  return config.lock()


def _module(method: str, recipe: str) -> ModuleType:
  """The module with the config of a method for a recipe."""
  if finding.is_own(method):
    methods.find(method)
    name = f"{method.rpartition('.')[0]}.config_{recipe}"
    return finding.own(name, ("get_config",), f"the config of {method}")
  if method not in methods.names():
    raise UserError(
      f"there is no method {method!r}; choose from {', '.join(methods.names())}"
    )
  name = f"{method}_{recipe}"
  known = configuration.names()
  if name not in known:
    of_method = [one for one in known if one.startswith(f"{method}_")]
    raise UserError(
      f"there is no config {name}: {method} has {', '.join(of_method)}"
    )
  return importlib.import_module(f"{configuration.OURS}.{name}")


def explainable(method: Any) -> Explainable:
  """The network of a method, for metrics and explanations.

  Raises:
    UserError: it compares no patches with prototypes.
  """
  network = needed(method, "explains").network
  if network is None:
    raise UserError(
      f"{method.config.method} does not decide by prototypes that patches of"
      " images are compared with, so there is nothing to measure"
    )
  return network
