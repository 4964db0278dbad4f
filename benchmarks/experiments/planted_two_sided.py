"""Changes in two directions, where the cause of the label is known.

The seeds are not those that the preset was thought of with (0, 1, 2). Training
is a third shorter than in `planted_protopnet`, and fewer images are explained.
"""

from benchmarks import harness, planted
from benchmarks.experiment import columns
from protojax.modify import presets

QUESTION = "Do changes in both directions find the planted cause more often?"

_SHORTER = {"pretrain.epochs": 4, "joint.epochs": 2}
_FIRST = ("contrast", "texture", "saturation", "shape", "hue")
ARMS = {name: (planted.arms("protopnet")[name][0], _SHORTER) for name in _FIRST}

SEEDS = (3, 4, 5)

SETTINGS = {"images": 32, "presets": (presets.BALANCED, presets.TWO_SIDED)}

FIGURES = {
  f"{preset.name}: {name}": f"{preset.name}.{place}"
  for preset in SETTINGS["presets"]
  for name, place in (
    ("first", "first"),
    ("r", "others_test_correlation"),
    ("accuracy", "accuracy"),
  )
}

MEASURE = planted.measure


def TABLE(found):
  """A row for each cause: how often it comes first, and the mean of all."""
  shown = ("balanced: first", "two_sided: first", "two_sided: r")
  for cause, of_seeds in found.items():
    values = columns(of_seeds)
    spreads = {name: harness.spread(values[name]) for name in shown}
    yield {"cause": cause, "seeds": len(of_seeds), **spreads}
