"""The k images nearest to each prototype, updated batch by batch.

Pruning needs them after a push, and explanations show them. Each device holds
O(p k) numbers for any number of images.
"""

from collections.abc import Mapping
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.types import ArrayLike, Batch, PyTree

_NO_IMAGE = np.iinfo(np.int32).max


@struct.dataclass
class Neighbours:
  """The images nearest to each prototype, the nearest first.

  With fewer than k images the rest has distance inf, image -1, label -1 and
  zeros.

  Attributes:
    distances: float32 [p, k], of the image's nearest patch; an image counts
      once.
    images: int32 [p, k], positions in the source; of equally near images the
      smaller position is first.
    labels: int32 [p, k], classes of those images.
    more: name -> [p, k, ...], or a tree of such arrays: further values of those
      images.
  """

  distances: Any
  images: Any
  labels: Any
  more: Mapping[str, Any] = struct.field(default_factory=dict)


def empty(
  count: int, k: int, more: Mapping[str, PyTree] | None = None
) -> Neighbours:
  """The neighbours of `count` prototypes before the first image.

  Args:
    count: p.
    k: images per prototype.
    more: name -> an example [...] of a further value, or a tree of them.
  """
  filled = jax.tree.map(
    lambda x: np.zeros((count, k, *np.shape(x)), x.dtype), dict(more or {})
  )
  return Neighbours(
    np.full((count, k), np.inf, np.float32),
    np.full((count, k), _NO_IMAGE, np.int32),
    np.full((count, k), -1, np.int32),
    filled,
  )


def add(
  found: Neighbours,
  distances: Float[ArrayLike, "b p"],
  batch: Batch,
  more: Mapping[str, PyTree] | None = None,
) -> Neighbours:
  """The neighbours after a batch; the order of batches does not matter.

  Args:
    found: the neighbours before it.
    distances: of each image to each prototype; an image with nan or inf is no
      neighbour.
    batch: its "index", "label" and "valid".
    more: name -> [b, p, ...], or a tree of such arrays.
  """
  usable = batch["valid"][:, None] & jnp.isfinite(distances)
  new = Neighbours(
    jnp.where(usable, distances, jnp.inf).T,
    jnp.where(usable, batch["index"][:, None], _NO_IMAGE).T,
    jnp.where(usable, batch["label"][:, None], -1).T,
    jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), dict(more or {})),
  )
  joined = jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), found, new)
  places = _smallest(joined.distances, joined.images, found.images.shape[1])
  return jax.tree.map(lambda x: _take(x, places), joined)


def _smallest(
  distances: Float[jax.Array, "p n"], images: Int[jax.Array, "p n"], k: int
) -> Int[jax.Array, "p k"]:
  """Columns of each row's k smallest distances; equal ones by their image.

  Found one after the other: for a small k a tenth of a sort's time on CPU.
  """
  # Along columns, where XLA works on several prototypes at once.
  distances, images = distances.T, images.T
  rows = jax.lax.broadcasted_iota(jnp.int32, images.shape, 0)

  def take(left: jax.Array, _: None) -> tuple[jax.Array, Int[jax.Array, " p"]]:
    nearest = jnp.min(jnp.where(left, distances, jnp.inf), 0, keepdims=True)
    among = left & (distances == nearest)
    first = jnp.min(jnp.where(among, images, _NO_IMAGE), 0, keepdims=True)
    among = among & (images == first)
    place = jnp.min(jnp.where(among, rows, len(rows)), 0)
    return left & (rows != place[None]), place

  _, places = jax.lax.scan(take, jnp.ones(images.shape, bool), length=k)
  return places.T


def gathered(stacked: Neighbours) -> Neighbours:
  """The neighbours of all devices `[devices, p, k]` joined, on the host."""
  k = stacked.distances.shape[-1]
  joined = jax.tree.map(
    lambda x: np.concatenate(list(np.asarray(x)), axis=1), stacked
  )
  order = np.lexsort((joined.images, joined.distances), axis=-1)[:, :k]
  found = jax.tree.map(lambda x: np.asarray(_take(x, order)), joined)
  there = found.images != _NO_IMAGE
  return found.replace(images=np.where(there, found.images, -1))


def _take(x, order):
  """Columns of [p, n, ...], chosen for each row by `order`."""
  order = order.reshape(*order.shape, *[1] * (x.ndim - 2))
  take = (
    np.take_along_axis if isinstance(x, np.ndarray) else jnp.take_along_axis
  )
  return take(x, order, axis=1)
