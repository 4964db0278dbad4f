"""Backbones by name: image -> features.

Backbones are found by name: a module of this package that declares `NAMES` and
`load(name)` has backbones, and no table lists it. Its Linen module has the
attributes `dtype` and `remat`.
"""

import dataclasses
import difflib
import importlib
import pkgutil
from types import ModuleType

import jax.numpy as jnp

from protojax.backbones.backbone import Backbone, Layer, Level
from protojax.types import UserError

__all__ = ["Backbone", "Layer", "Level", "load", "names"]

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def names() -> tuple[str, ...]:
  """Names of all backbones, sorted."""
  return tuple(sorted(_modules()))


def load(name: str, dtype: str = "float32", remat: bool = False) -> Backbone:
  """The backbone of that name.

  Args:
    name: one of `names()`.
    dtype: what the network computes in, "float32" or "bfloat16"; parameters,
      statistics and features are float32 either way.
    remat: whether the gradient computes blocks again and does not keep them: a
      third more time for a fraction of the memory.

  Raises:
    UserError: there is no such backbone, or no such type.
  """
  if dtype not in _DTYPES:
    raise UserError(
      f"unknown backbone.dtype '{dtype}': choose from {', '.join(_DTYPES)}."
    )
  modules = _modules()
  if name not in modules:
    near = difflib.get_close_matches(name, modules, n=1, cutoff=0.4)
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(
      f"unknown backbone '{name}': {guess}There are: {', '.join(names())}."
    )
  backbone = modules[name].load(name)
  module = backbone.module.clone(dtype=_DTYPES[dtype], remat=remat)
  return dataclasses.replace(backbone, module=module)


def _modules() -> dict[str, ModuleType]:
  """Name of a backbone -> its module."""
  found = {}
  for entry in pkgutil.iter_modules(__path__):
    module = importlib.import_module(f"{__name__}.{entry.name}")
    found.update(dict.fromkeys(getattr(module, "NAMES", ()), module))
  return found
