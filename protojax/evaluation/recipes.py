"""Loads configs and networks of any method, for `evaluate`.

A recipe is what follows the method in a config's name: "folder" in
configs/protopnet_folder.py.
"""

from collections.abc import Mapping
import importlib
from typing import Any

from ml_collections import ConfigDict

from protojax import methods
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
    method: its name.
    recipe: such as "folder" or "planted".
    variants: of the config, with commas between them.
    changes: key, such as "data.root" -> its value.

  Raises:
    UserError: there is no such method, or no config of it for the recipe.
  """
  if method not in methods.names():
    raise UserError(
      f"there is no method {method!r}; choose from {', '.join(methods.names())}"
    )
  name = f"configs.{method}_{recipe}"
  try:
    module = importlib.import_module(name)
  except ModuleNotFoundError as error:
    if error.name not in ("configs", name):
      raise
    raise UserError(
      f"there is no {name.replace('.', '/')}.py here: run the command in the"
      " folder of protojax's repository, with a method that has one"
    ) from error
  config = module.get_config(variants).unlock()
  for key, value in (changes or {}).items():
    *groups, last = key.split(".")
    holder = config
    for group in groups:
      holder = holder[group]
    holder[last] = value
  return config.lock()


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
