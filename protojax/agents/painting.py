"""How far pictures of scenes change with what a scene holds."""

import jax
from jaxtyping import Bool
import numpy as np

from protojax.agents.scenes import EQUAL, Weights
from protojax.datasets.dialogue_pictures import paint
from protojax.datasets.dialogue_world import ATTRIBUTES, TYPES, WHOLE, Scenes


def weights(scenes: Scenes, count: int = 64) -> Weights:
  """How far pictures change, on average, when a factor of a scene changes.

  A thing is taken away, an attribute or the whole takes its next value, and two
  things change places. The mean absolute difference of the pixels is divided by
  the largest one of the things, the attributes, or the rest, each.

  Args:
    scenes: of the training split.
    count: how many of them are painted.
  """
  some = jax.tree.map(lambda x: x[:count], scenes)
  before = paint(some).astype(np.float32)

  def change(which: Bool[np.ndarray, " n"], **changed) -> float:
    after = paint(some._replace(**changed)).astype(np.float32)
    return float(np.abs(after - before)[which].mean()) if which.any() else 0.0

  things, attributes, whole = {}, {}, {}
  for t, name in enumerate(TYPES):
    there = some.there.copy()
    there[:, t] = False
    things[name] = change(some.there[:, t], there=there)
  for a, (name, values) in enumerate(ATTRIBUTES.items()):
    codes = some.attributes.copy()
    codes[..., a] = (codes[..., a] + 1) % len(values)
    attributes[name] = change(some.there.any(1), attributes=codes)
  for w, (name, values) in enumerate(WHOLE.items()):
    codes = some.whole.copy()
    codes[:, w] = (codes[:, w] + 1) % len(values)
    whole[name] = change(np.ones(some.size, bool), whole=codes)
  moved = change(some.there.sum(1) > 1, at=-some.at)
  largest = max(*whole.values(), *things.values(), moved)
  most = max(attributes.values())
  return EQUAL._replace(
    things={k: v / largest for k, v in things.items()},
    attributes={**{k: v / most for k, v in attributes.items()}},
    whole={k: v / largest for k, v in whole.items()},
    relation=moved / largest,
  )
