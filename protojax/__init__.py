"""Prototype-based vision in JAX: this looks like that, because of what.

import protojax as pj

model = pj.load("runs/protopnet_photos")
found = model.predict("photo.jpg")
found.label, found.probability, found.probabilities, found.points
model.explain("photo.jpg").to_html("why.html")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from protojax.any_model import importance
  from protojax.errors import UserError
  from protojax.heat.heatmap import heatmap
  from protojax.learning import train
  from protojax.model import Model, load

__version__ = "0.1.0"
__all__ = ["Model", "UserError", "heatmap", "importance", "load", "train"]

# Name -> the module it lies in, imported when it is asked for: commands read
# this module, and answer `--help` before anything heavy is imported.
_PLACES = {
  "Model": "protojax.model",
  "UserError": "protojax.errors",
  "heatmap": "protojax.heat.heatmap",
  "importance": "protojax.any_model",
  "load": "protojax.model",
  "train": "protojax.learning",
}


def __getattr__(name: str) -> Any:
  if name not in _PLACES:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
