"""Backbones by name: image -> features.

Backbones are found by name: a module of this package that declares `NAMES` and
`load(name)` has backbones, and no table lists it. A dotted name is a user's own
module with the same two: `mypackage.nets` is the first of its names, and
`mypackage.nets.wide` is the one called "wide". The Linen module of a backbone
has the attributes `dtype` and `remat`.
"""

import dataclasses
import importlib
from types import ModuleType

import jax.numpy as jnp

from protojax import finding
from protojax.backbones.backbone import Backbone, Layer, Level
from protojax.types import UserError

__all__ = ["Backbone", "Layer", "Level", "load", "names"]

_SETTING, _NEEDED = "config.backbone.name", ("NAMES", "load")
_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def names() -> tuple[str, ...]:
  """Names of all backbones, sorted."""
  return tuple(sorted(_modules()))


def load(name: str, dtype: str = "float32", remat: bool = False) -> Backbone:
  """The backbone of that name.

  Args:
    name: one of `names()`, or of a user's own module.
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
  module, name = _own(name) if finding.is_own(name) else _ours(name)
  backbone = module.load(name)
  module = backbone.module.clone(dtype=_DTYPES[dtype], remat=remat)
  return dataclasses.replace(backbone, module=module)


def _modules() -> dict[str, ModuleType]:
  """Name of a backbone -> its module."""
  found = {}
  for name in finding.names(__name__, "NAMES"):
    module = importlib.import_module(f"{__name__}.{name}")
    found.update(dict.fromkeys(module.NAMES, module))
  return found


def _ours(name: str) -> tuple[ModuleType, str]:
  """The module of this package that has a backbone, and the name."""
  modules = _modules()
  if name not in modules:
    raise finding.unknown(_SETTING, name, modules)
  return modules[name], name


def _own(name: str) -> tuple[ModuleType, str]:
  """A user's own module, and the name of a backbone of it."""
  if finding.is_module(name):
    module = finding.own(name, _NEEDED, _SETTING)
    return module, module.NAMES[0]
  place, _, last = name.rpartition(".")
  module = finding.own(place, _NEEDED, _SETTING)
  if last not in module.NAMES:
    raise finding.unknown(
      _SETTING, name, [f"{place}.{n}" for n in module.NAMES]
    )
  return module, last
