"""Where prototypes start: random patches of training images of their class.

So they begin among the features, where the push will leave them, and differ.
Uniform ones begin about equally far from everything, and many of a class end
on the same patch.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Float
import numpy as np

from protojax import parallel
from protojax.types import Batch, State


def random_patches(
  embedded_rows: Callable[[State, Batch], jax.Array],
  state: State,
  stream: Any,
  seed: int,
) -> Float[np.ndarray, "p h1 w1 d"]:
  """A random patch of a random image of its class for each prototype.

  Prototypes of a class get different images as long as there are enough. A
  prototype whose class has no image keeps its value.

  Args:
    embedded_rows: (state, batch) -> features b h w d, those that prototypes
      are compared with; always the same function object.
    state: params["prototypes"]["prototypes"] and the buffer "class_of" are
      read here, the rest by `embedded_rows`.
    stream: `batches()` of all images, without augmentation, and `labels`.
    seed: of the choice.
  """
  rng = np.random.default_rng(seed)
  prototypes = np.array(state.params["prototypes"]["prototypes"])
  class_of, labels = np.asarray(state.buffers["class_of"]), stream.labels
  chosen = np.full(len(class_of), -1)
  for label in np.intersect1d(class_of, labels):
    images = rng.permutation(np.flatnonzero(labels == label))
    own = np.flatnonzero(class_of == label)
    chosen[own] = np.resize(images, len(own))
  # In shares of the grid, whose size is known when the first map is there.
  places = rng.random((len(chosen), 2))
  _, height, width, _ = prototypes.shape
  for batch, maps in parallel.each(embedded_rows, state, stream.batches()):
    rows, columns = maps.shape[1] - height + 1, maps.shape[2] - width + 1
    for index, z in zip(batch["index"], maps[batch["mask"]], strict=False):
      for j in np.flatnonzero(chosen == index):
        top, left = (places[j] * (rows, columns)).astype(int)
        prototypes[j] = z[top : top + height, left : left + width]
  return prototypes
