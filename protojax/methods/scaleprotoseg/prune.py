"""ProtoSeg's pruning: drops prototypes whose nearest patches are of others.

Of the training images nearest to a prototype, one patch each, a patch counts
for its class if any pixel in it has that class. Cells of void are no patches.
ScaleProtoSeg groups instead.
"""

import functools
from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Int
import numpy as np

from protojax import parallel
from protojax.methods.scaleprotoseg.network import Network
from protojax.prototypes import neighbours
from protojax.prototypes.bank import with_bank
from protojax.types import Array, ArrayLike, Batch, Metrics, State


def prune(
  network: Network, state: State, data: Any, nearest: int, least: int
) -> tuple[State, Metrics]:
  """The state without prototypes that fewer than `least` patches speak for.

  Args:
    network: of the state.
    state: after a push.
    data: `batches()` of all training images, with their masks.
    nearest: images whose best patches are asked.
    least: of these, how many must show the prototype's class.

  Returns:
    The state, and the numbers "pruned" and "alive".
  """
  bank = network.bank(state)
  count = len(bank.class_of)
  own = np.zeros((), bool)
  stacked = parallel.fold(
    functools.partial(_add, network),
    state,
    neighbours.empty(count, nearest, {"own": own}),
    data.batches(),
  )
  found = neighbours.gathered(stacked)
  votes = (found.more["own"] & (found.images >= 0)).sum(axis=1)
  before = np.asarray(bank.alive)
  alive = before & (votes >= least)
  state = with_bank(state, bank.replace(alive=alive))
  return state, {
    "pruned": int(before.sum() - alive.sum()),
    "alive": int(alive.sum()),
  }


def _add(
  network: Network, state: State, carry: neighbours.Neighbours, batch: Batch
) -> neighbours.Neighbours:
  """The nearest images so far, updated with a batch."""
  rows = network.rows(state, batch)
  features, classes = rows["features"], len(network.class_names)
  b, h, w = features.shape[:3]
  distances = network.distances(state.params, features)
  distances = distances.reshape(b, h * w, -1)
  void = rows["cells"].reshape(b, h * w) >= classes
  distances = jnp.where(void[..., None], jnp.inf, distances)
  nearest = jnp.argmin(distances, axis=1)
  held = patches(batch["mask"], h, w, classes).reshape(b, h * w, classes)
  own = held[
    jnp.arange(b)[:, None], nearest, network.bank(state).class_of[None]
  ]
  known = {**batch, "label": jnp.zeros(b, jnp.int32)}
  least = jnp.min(distances, axis=1)
  return neighbours.add(carry, least, known, {"own": own})


def patches(
  masks: Int[ArrayLike, "b H W"], rows: int, columns: int, classes: int
) -> Bool[Array, "b rows columns k"]:
  """Whether any pixel of the box of a cell has a class.

  The box of cell i of n, of an axis of N pixels, is from i N // n on and before
  (i + 1) N // n.
  """
  masks = jnp.asarray(masks)
  b, height, width = masks.shape
  row = ((jnp.arange(height) + 1) * rows - 1) // height
  column = ((jnp.arange(width) + 1) * columns - 1) // width
  cell = row[:, None] * columns + column[None]
  image = jnp.arange(b)[:, None, None]
  empty = jnp.zeros((b, rows * columns, classes), bool)
  # Void is beyond the classes, and is dropped.
  filled = empty.at[image, cell[None], masks].set(True, mode="drop")
  return filled.reshape(b, rows, columns, classes)
