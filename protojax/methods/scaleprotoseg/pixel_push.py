"""Push: every prototype becomes its nearest pixel of its class.

One pass over whole training images, where the authors' code goes through the
network once for each prototype. Then prototypes that have become equal are dead
but for the first, and so are those of classes that no image shows.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.methods.scaleprotoseg.network import Network
from protojax.prototypes import push as push_lib
from protojax.prototypes.bank import with_bank
from protojax.types import Batch, Metrics, PyTree, State


def push(network: Network, state: State, data: Any) -> tuple[State, Metrics]:
  """The state with pushed prototypes, and what became of them.

  Of equally near pixels the one of the image with the smallest index is taken,
  then the first in row-major order.

  Args:
    network: of the state.
    state: before the push.
    data: `batches()` of all training images or their rows, `examples(indices)`.

  Returns:
    "pushed", "without_pixels" (prototypes of classes in no image), "duplicates"
    (equal to an earlier prototype of their class and scale), "moved_mean" and
    "moved_max" (distances).
  """
  bank = network.bank(state)
  stacked = parallel.fold(
    functools.partial(_nearer, network),
    state,
    push_lib.nothing(np.asarray(jax.device_get(bank.vectors))),
    data.batches(),
  )
  vectors, provenance, metrics = push_lib.taken(stacked, state, data)
  there = np.asarray(bank.alive) & (provenance.image >= 0)
  alive = there & ~_repeated(vectors.reshape(*network.shape, -1), there)
  metrics["without_pixels"] = metrics.pop("without_image")
  metrics["duplicates"] = int(there.sum() - alive.sum())
  bank = bank.replace(vectors=vectors, provenance=provenance, alive=alive)
  return with_bank(state, bank), metrics


def _repeated(vectors: np.ndarray, there: np.ndarray) -> np.ndarray:
  """Prototypes that equal an earlier one of their class and scale, [p]."""
  s, k, m = vectors.shape[:3]
  equal = (vectors[:, :, :, None] == vectors[:, :, None]).all(-1)
  earlier = np.tril(np.ones((m, m), bool), -1)
  there = there.reshape(s, k, m)
  return (equal & earlier & there[:, :, None]).any(-1).reshape(-1)


def _nearer(
  network: Network, state: State, carry: PyTree, batch: Batch
) -> PyTree:
  """The nearest pixels so far, updated with a batch."""
  rows = batch if "features" in batch else network.rows(state, batch)
  # Padding shows no class.
  cells = jnp.where(batch["valid"][:, None, None], rows["cells"], -1)
  vectors = network.vectors(state)

  def take(carry: PyTree, image: PyTree) -> tuple[PyTree, None]:
    return _of_image(carry, image, vectors), None

  carry, _ = jax.lax.scan(
    take, carry, (rows["features"], cells, batch["index"])
  )
  return carry


def _of_image(
  carry: PyTree,
  image: tuple[jax.Array, jax.Array, jax.Array],
  vectors: jax.Array,
) -> PyTree:
  """The nearest pixels so far, updated with features, cells and an index."""
  features, cells, index = image
  s, k, _, d = vectors.shape
  z = features.reshape(-1, s, d)
  # From differences, which are exact: a pushed prototype has distance 0 to its
  # pixel, so that a second push changes nothing.
  apart = z[:, :, None, None] - vectors[None]
  distances = jnp.sum(apart**2, axis=-1)
  mine = cells.reshape(-1)[:, None] == jnp.arange(k)[None]
  distances = jnp.where(mine[:, None, :, None], distances, jnp.inf)
  at = jnp.argmin(distances, axis=0)
  least = jnp.min(distances, axis=0).reshape(-1)
  patch = jnp.take_along_axis(
    z[:, :, None, None], at[None, ..., None], axis=0
  ).reshape(-1, d)
  before = carry["distance"]
  wins = least < before
  wins |= jnp.isfinite(least) & (least == before) & (index < carry["image"])
  return {
    "distance": jnp.where(wins, least, before),
    "image": jnp.where(wins, index, carry["image"]),
    "cell": jnp.where(wins, at.reshape(-1).astype(jnp.int32), carry["cell"]),
    "patch": jnp.where(wins[:, None], patch, carry["patch"]),
  }
