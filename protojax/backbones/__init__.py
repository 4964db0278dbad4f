"""Backbones by name: image -> features.

Backbones are found by name: a module of this package that declares `NAMES` and
`load(name)` has backbones, and no table lists it. A dotted name is a user's own
module with the same two: `mypackage.nets` is the first of its names, and
`mypackage.nets.wide` is the one called "wide". The Linen module of a backbone
has the attributes `dtype` and `remat`.
"""

import dataclasses
import functools
import importlib
import logging
from types import ModuleType

import jax.numpy as jnp

from protojax import finding
from protojax.backbones.backbone import Backbone, Layer, Level
from protojax.data.resizing import Preprocessing
from protojax.types import UserError
from protojax.weights import reading

__all__ = ["Backbone", "Layer", "Level", "load", "names", "preprocessing"]

_SETTING, _NEEDED = "config.backbone.name", ("NAMES", "load")
_LOG = logging.getLogger(__name__)
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


def preprocessing(name: str, weights: str = "") -> Preprocessing:
  """How images were resized for the weights of a backbone.

  Args:
    name: of the backbone.
    weights: address of its weights, as in `reading.fetch`; '' and files are
      taken for the weights that the backbone usually has.

  Raises:
    UserError: the backbone has no such weights, or nobody knows.
  """
  known, (_, tag) = load(name).preprocessing, reading.hub_name(weights)
  if not known:
    raise UserError(
      f"--config.data.resize=weights: the backbone {name!r} has no published"
      " weights that say how images are resized; choose squash or aspect."
    )
  if tag not in known:
    others = ", ".join(f".{other}" for other in known if other) or "none"
    raise UserError(
      f"--config.data.resize=weights: how images were resized for {weights} is"
      f" not known here (known of {name}: {others}). Set"
      " --config.data.resize=aspect with resize_size and interpolation as its"
      " page on the hub says."
    )
  found = known[tag]
  if weights and not tag:
    _say_taken(weights, found)
  return found


@functools.cache
def _say_taken(weights: str, found: Preprocessing) -> None:
  _LOG.warning(
    "note: images are resized as for the usual weights of this backbone, the"
    " shorter side to %s and the middle %s cut out (%s); if %s is another, set"
    " --config.data.resize_size and interpolation",
    *found,
    weights,
  )


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
  module = finding.own(place, _NEEDED, _SETTING, name)
  if last not in module.NAMES:
    raise finding.unknown(
      _SETTING, name, [f"{place}.{n}" for n in module.NAMES]
    )
  return module, last
