"""The nearest patch of an image to each prototype, and how far it is.

Second step of the forward path: features -> (distance, cell) per prototype.
The maps `b h w p` are never held as a whole: a few images are compared with a
few prototypes at a time, which makes a tile. One matmul per tile chooses the
cell. The distance there is then computed from the differences, sum((z - p)²),
which is exact near 0, where the log similarity is steepest.
"""

from collections.abc import Callable
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num

from protojax.layers.conv import on_cpu
from protojax.prototypes import distance
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike

# How the cells are found; see `nearest`.
KERNELS = ("xla", "pallas")

# On CPU and elsewhere: bytes of a tile (of its distances, or of its gathered
# patches), and its most prototypes. On CPU a tile fits into the cache and has
# work for several threads: 8 maps of 7x7x128 against 100,000 prototypes take
# 1.5 times as long as a matmul of that size (image by image: 2 times), and 0.75
# times with the gradient. An accelerator would be idle between so small tiles.
_TILES = {True: (2**22, 2**10), False: (2**28, 2**14)}


@struct.dataclass
class Nearest:
  """The patch of each image that is nearest to each prototype.

  Attributes:
    distances: float32 [b, p], smallest distance over the grid.
    cells: int32 [b, p], row-major index of that cell in the grid of windows;
      the first of equally near cells.
  """

  distances: Any
  cells: Any


def nearest(
  features: Float[ArrayLike, "b h w d"],
  prototypes: Float[ArrayLike, "p h1 w1 d"],
  similarity: Similarity,
  tile: tuple[int, int] | None = None,
  kernel: str = "xla",
) -> Nearest:
  """Smallest distance of each prototype over the grid, and its cell.

  The minimum over the grid (ProtoPNet, section 2.1: max-pooled similarity).
  The gradient goes to the chosen cell alone.

  Args:
    features: maps of a batch of images.
    prototypes: prototypes of any size that fits into the maps.
    similarity: its metric is used.
    tile: number of images and of prototypes in a tile; None chooses.
    kernel: how the cells are found: "xla", by matmuls of tiles, or "pallas",
      by the fused kernel, which was never run on an accelerator yet.
  """

  def one(
    windows: Float[jax.Array, "c e"], flat: Float[jax.Array, "q e"]
  ) -> Int[jax.Array, " q"]:
    products = jnp.matmul(windows, flat.T, precision=distance.PRECISION)
    return _first_minimum(similarity.offset(windows)[:, None] - products)

  windows, flat = _laid_out(features, prototypes, similarity)
  given = jax.lax.stop_gradient((windows, flat))
  if kernel == "pallas":
    # Here: Pallas takes a tenth of a second.
    from protojax.prototypes import kernel as kernels

    cells = kernels.nearest_cells(*given, similarity.offset(given[0]))
  else:
    cells = _tiled(one, tile, *given)
  return Nearest(at(features, prototypes, cells, similarity, tile), cells)


def at(
  features: Float[ArrayLike, "b h w d"],
  prototypes: Float[ArrayLike, "p h1 w1 d"],
  cells: Int[ArrayLike, "b p"],
  similarity: Similarity,
  tile: tuple[int, int] | None = None,
) -> Float[jax.Array, "b p"]:
  """Distance of each prototype to the patch at a given cell of each image."""

  # Patches are gathered again in the backward pass, which is cheaper than to
  # store b p e numbers.
  def one(
    windows: Float[jax.Array, "c e"],
    flat: Float[jax.Array, "q e"],
    cells: Int[jax.Array, " q"],
  ) -> Float[jax.Array, " q"]:
    return similarity.apart(windows[cells], flat)

  windows, flat = _laid_out(features, prototypes, similarity)
  return _tiled(jax.checkpoint(one), tile, windows, flat, jnp.asarray(cells))


def _laid_out(features, prototypes, similarity):
  """Windows [b c e] and flat prototypes [p e], prepared to be compared."""
  count, height, width, _ = prototypes.shape
  windows = distance.patches(features, height, width)
  windows = windows.reshape(len(windows), -1, windows.shape[-1])
  flat = jnp.asarray(prototypes, jnp.float32).reshape(count, -1)
  return similarity.prepared(windows), similarity.prepared(flat)


def _first_minimum(distances: Float[jax.Array, "c q"]) -> Int[jax.Array, " q"]:
  """Row of each column's smallest value, or of its first nan.

  By two reductions: argmin goes number by number in XLA on CPU.
  """
  rows = jax.lax.broadcasted_iota(jnp.int32, distances.shape, 0)
  smallest = distances <= jnp.min(distances, axis=0, keepdims=True)
  found = smallest | jnp.isnan(distances)
  return jnp.min(jnp.where(found, rows, len(distances)), axis=0)


def _tiled(
  one: Callable[..., jax.Array],
  tile: tuple[int, int] | None,
  windows: Float[jax.Array, "b c e"],
  flat: Float[jax.Array, "p e"],
  *more: Int[jax.Array, "b p"],
) -> Num[jax.Array, "b p"]:
  """`one` of each image and a few prototypes, tile by tile."""
  images, count = len(windows), len(flat)
  some, few = tile or _tile(windows, count)
  if images <= some and count <= few:
    return jax.vmap(one, in_axes=(0, None, *[0] * len(more)))(
      windows, flat, *more
    )
  few = min(few, count)
  padding = -count % few
  flat = jnp.pad(flat, ((0, padding), (0, 0))).reshape(-1, few, flat.shape[1])
  more = tuple(
    jnp.moveaxis(
      jnp.pad(x, ((0, 0), (0, padding))).reshape(images, -1, few), 1, 0
    )
    for x in more
  )

  def against(block: tuple[jax.Array, ...]) -> jax.Array:
    flat, *more = block
    return jax.lax.map(
      lambda x: one(x[0], flat, *x[1:]), (windows, *more), batch_size=some
    )

  found = jax.lax.map(against, (flat, *more))
  return jnp.moveaxis(found, 0, 1).reshape(images, -1)[:, :count]


def _tile(windows: jax.Array, prototypes: int) -> tuple[int, int]:
  """Numbers of images and of prototypes in a tile."""
  size, most = _TILES[on_cpu()]
  most = min(most, prototypes)
  # A divisor of their number, if there is one: padding copies the prototypes.
  divisors = (n for n in range(most, most // 2, -1) if prototypes % n == 0)
  few = next(divisors, most)
  return max(1, size // (4 * few * max(windows.shape[1:]))), few
