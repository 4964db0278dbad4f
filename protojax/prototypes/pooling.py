"""The nearest patch of an image to each prototype, and how far it is.

Second step of the forward path: features -> (distance, cell) per prototype.
The whole maps `b h w p` are never held: images go through in blocks, the cell
is chosen by one matmul per block, and the distance there is computed anew
from the differences, as sum((z - p)²), which is exact where the log
similarity is steepest.
"""

from collections.abc import Callable
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.prototypes import distance
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike

# A block's gathered patches stay in the cache of a core: 80 images of 7x7x128
# against 2000 prototypes take 8 ms on 2 cores, and 87 ms in one block.
_BLOCK_BYTES = 4 * 2**20


@struct.dataclass
class Nearest:
  """Where each prototype finds its likeness in each image.

  Attributes:
    distances: float32 [b, p], smallest distance over the grid.
    cells: int32 [b, p], row-major index of that cell in the grid of windows;
      of cells equally near the first.
  """

  distances: Any
  cells: Any


def nearest(
  features: Float[ArrayLike, "b h w d"],
  prototypes: Float[ArrayLike, "p h1 w1 d"],
  similarity: Similarity,
  block: int = 0,
) -> Nearest:
  """Smallest distance of each prototype over the grid, and its cell.

  The minimum over the grid (ProtoPNet, section 2.1: max-pooled similarity).
  The gradient goes to the chosen cell alone.

  Args:
    features: maps of a batch of images.
    prototypes: prototypes of any size that fits into the maps.
    similarity: which metric to use.
    block: images that go through at a time; 0 chooses by memory.
  """
  chosen = _cells(
    jax.lax.stop_gradient(features),
    jax.lax.stop_gradient(prototypes),
    similarity,
    block,
  )
  return Nearest(at(features, prototypes, chosen, similarity, block), chosen)


def at(
  features: Float[ArrayLike, "b h w d"],
  prototypes: Float[ArrayLike, "p h1 w1 d"],
  cells: Int[ArrayLike, "b p"],
  similarity: Similarity,
  block: int = 0,
) -> Float[jax.Array, "b p"]:
  """Distance of each prototype to the patch at a given cell of each image."""
  count, height, width, _ = prototypes.shape
  flat = jnp.asarray(prototypes, jnp.float32).reshape(count, -1)
  windows = distance.patches(features, height, width)
  windows = windows.reshape(len(windows), -1, windows.shape[-1])

  # Gathered patches are made again in the backward pass: cheaper than to keep
  # b p e of them.
  def one(
    windows: Float[jax.Array, "c e"], cells: Int[jax.Array, " p"]
  ) -> Float[jax.Array, " p"]:
    return similarity.paired(windows[cells], flat)

  block = block or _block(flat)
  return _blocked(jax.checkpoint(one), block, windows, jnp.asarray(cells))


def _cells(features, prototypes, similarity, block):
  def one(features: Float[jax.Array, "h w d"]) -> Int[jax.Array, " p"]:
    distances = similarity.distance(features[None], prototypes)[0]
    distances = distances.reshape(-1, distances.shape[-1])
    return jnp.argmin(distances, axis=0).astype(jnp.int32)

  return _blocked(one, block or _block(prototypes), jnp.asarray(features))


def _block(prototypes) -> int:
  return max(1, _BLOCK_BYTES // (4 * prototypes.size))


def _blocked(
  one: Callable[..., jax.Array], block: int, *arrays: jax.Array
) -> jax.Array:
  """Maps `one` over the images, `block` of them at a time."""
  if block >= len(arrays[0]):
    return jax.vmap(one)(*arrays)
  return jax.lax.map(lambda xs: one(*xs), arrays, batch_size=block)
