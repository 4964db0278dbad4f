"""How strong the second side of each characteristic of "two_sided" must be.

python benchmarks/strengths.py [CHARACTERISTIC ...]

The first side is that of the preset "balanced". The second must move the
features of a generic network (EfficientNet-Lite0, weights of ImageNet) as far:
the distance of the feature maps of an image and its changed copy, by the norm
of the image's, mean over training crops of the embedded photographs. They are
no images of the planted data sets, which the presets are judged on. The
strength is found by halving an interval; printed are both distances, and the
strength to two digits, which the preset has.
"""

from collections.abc import Callable
import dataclasses
from pathlib import Path
import sys

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax.datasets import photos
from protojax.metrics import generation_features
from protojax.modify import modification, presets
from protojax.modify.modification import Modification

# Crops of each photograph, from the first one on.
_CROPS = 5
# Characteristic -> the interval in which its second side is looked for, the
# weaker end first. Hue turns back as far as it turns forward.
_RANGES = {
  "contrast": (1.0, 4.0),
  "saturation": (1.0, 4.0),
  "hue": (0.0, -0.5),
  "shape": (0.0, 12.0),
  "texture": (0.0, 2.0),
}
_HALVINGS = 12


def main() -> None:
  """Prints a row for each characteristic that is named, or for all."""
  chosen = sys.argv[1:] or list(_RANGES)
  moved = _distance()
  preset = presets.TWO_SIDED
  named = {m.name: m for m in preset.modifications}
  rows = []
  for name, (first, second) in preset.sides:
    if name not in chosen:
      continue
    wanted, one = moved(named[first]), named[second]
    strength = _strength(moved, one, wanted, *_RANGES[name])
    rows.append(
      {
        "characteristic": name,
        "first side": str(named[first]),
        "distance": f"{wanted:.3f}",
        "second side": str(one),
        "its distance": f"{moved(one):.3f}",
        "equal at": f"{strength:.3g}",
      }
    )
  harness.tell(rows)


def _distance() -> Callable[[Modification], float]:
  """Gives how far a modification moves the features, by their norm."""
  source = photos.opened("", "train")
  each = len(source) // len(photos.CLASS_NAMES)
  chosen = [i for i in range(len(source)) if i % each < _CROPS]
  images = jnp.stack([source[i]["image"] for i in chosen])
  taken = generation_features.load("efficientnet_lite0")
  variables = dict(taken.weights["variables"])
  params = variables.pop("params")

  @jax.jit
  def features(pixels):
    return taken.backbone.features(params, variables, pixels)[0]

  before = np.asarray(features(images))
  norm = np.linalg.norm(before.reshape(len(before), -1), axis=1)

  def moved(one: Modification) -> float:
    after = np.asarray(features(modification.modify(images, one)))
    apart = np.linalg.norm((after - before).reshape(len(before), -1), axis=1)
    return float(np.mean(apart / norm))

  return moved


def _strength(moved, one: Modification, wanted, weak, strong) -> float:
  """The strength at which a modification moves features so far."""
  for _ in range(_HALVINGS):
    middle = (weak + strong) / 2
    changed = dataclasses.replace(one, strengths=(middle, *one.strengths[1:]))
    if moved(changed) < wanted:
      weak = middle
    else:
      strong = middle
  return (weak + strong) / 2


if __name__ == "__main__":
  main()
