"""The nearest cell of each prototype by one fused kernel, for GPU and TPU.

It does in one pass what `pooling.nearest` does tile by tile. The products of
some cells with a block of prototypes stay on the chip, with the smallest value
so far and its cell. The tests lower it for TPU (Mosaic) and GPU (Triton) and
run it in Pallas' interpreter; it was never run on such a device.
"""

import functools

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.prototypes.distance import PRECISION

# Cells that are compared with a block of prototypes at a time; prototypes of a
# block, by platform.
_CELLS = 64
_BLOCK = {"cpu": 128, "tpu": 512, "cuda": 64}
_GPU = triton.CompilerParams(num_warps=4, num_stages=1)


def nearest_cells(
  windows: Float[jax.Array, "b c e"],
  flat: Float[jax.Array, "p e"],
  offsets: Float[jax.Array, "b c"],
) -> Int[jax.Array, "b p"]:
  """The first cell with the smallest offset - z·p, or the first with nan.

  It has no gradient.

  Args:
    windows: patches z of each image, one for each cell.
    flat: prototypes p.
    offsets: of each patch; see `Similarity`.
  """
  on = {
    platform: functools.partial(_call, platform=platform) for platform in _BLOCK
  }
  return jax.lax.platform_dependent(windows, flat, offsets, **on)


def _call(windows, flat, offsets, platform):
  images, cells, length = windows.shape
  count, block = len(flat), _BLOCK[platform]
  # Sides of Triton's blocks are powers of two; added zeros change no product.
  wide = pl.next_power_of_2(length) - length
  more = -cells % _CELLS
  windows = jnp.pad(windows, ((0, 0), (0, more), (0, wide)))
  # Added cells are infinitely far.
  offsets = jnp.pad(offsets, ((0, 0), (0, more)), constant_values=jnp.inf)
  flat = jnp.pad(flat, ((0, -count % block), (0, wide)))
  found = pl.pallas_call(
    _kernel,
    out_shape=jax.ShapeDtypeStruct((images, 1, len(flat)), jnp.int32),
    # All images of a block of prototypes follow each other, so the block stays.
    grid=(len(flat) // block, images),
    in_specs=[
      pl.BlockSpec((1, *windows.shape[1:]), lambda q, b: (b, 0, 0)),
      pl.BlockSpec((block, flat.shape[1]), lambda q, b: (q, 0)),
      pl.BlockSpec((1, offsets.shape[1], 1), lambda q, b: (b, 0, 0)),
    ],
    out_specs=pl.BlockSpec((1, 1, block), lambda q, b: (b, 0, q)),
    interpret=platform == "cpu",
    compiler_params=_GPU if platform == "cuda" else None,
  )(windows, flat, offsets[..., None])
  return found[:, 0, :count]


def _kernel(windows, flat, offsets, out):
  """Writes cells [1 1 q] of one image and one block of prototypes [q e]."""
  prototypes = flat[...]
  shape = 1, len(prototypes)
  rows = jax.lax.broadcasted_iota(jnp.int32, (_CELLS, shape[1]), 0)

  def compare(tile, best):
    some = pl.ds(pl.multiple_of(tile * _CELLS, _CELLS), _CELLS)
    products = jax.lax.dot_general(
      windows[0, some, :],
      prototypes,
      (((1,), (1,)), ((), ())),
      precision=PRECISION,
      preferred_element_type=jnp.float32,
    )
    distances = offsets[0, some, :] - products
    distances = jnp.where(jnp.isnan(distances), -jnp.inf, distances)
    least = jnp.min(distances, axis=0, keepdims=True)
    first = jnp.where(distances <= least, rows, _CELLS)
    first = jnp.min(first, axis=0, keepdims=True) + tile * _CELLS
    nearer = least < best[0]
    return jnp.where(nearer, least, best[0]), jnp.where(nearer, first, best[1])

  start = jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32)
  tiles = windows.shape[1] // _CELLS
  out[0] = jax.lax.fori_loop(0, tiles, compare, start)[1]
