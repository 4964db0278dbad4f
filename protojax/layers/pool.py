"""Max-pooling, computed in the way that is fastest on the device.

On GPU and TPU this is XLA's own pooling. On CPU, XLA's gradient of a maximum
reduces five arrays to find each maximum and scatters to it. That takes five
times as long as the code here: a third of the time of ResNet-18's convolutions.
"""

import functools
import itertools

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from protojax.layers.conv import on_cpu

# Number of a tap that does not exist.
_NOWHERE = np.uint8(255)


def max_pool(
  x: Float[Array, "b h w c"], side: int, stride: int, margin: int = 0
) -> Float[Array, "b h2 w2 c"]:
  """Maximum of every window of side x side cells.

  `margin` cells are added around the map; they are never the maximum. The
  gradient goes to the first of equal maxima, in row-major order.
  """
  if on_cpu():
    return _max_pool(x, side, stride, margin)
  edge = margin, margin
  return nn.max_pool(x, (side, side), (stride, stride), (edge, edge))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, side, stride, margin):
  for axis in (1, 2):
    seen = _taps(x, axis, side, stride, margin, -jnp.inf)
    # Without the barrier, maxima over rows are computed again for each column.
    x = lax.optimization_barrier(functools.reduce(jnp.maximum, seen))
  return x


def _forward(x, side, stride, margin):
  """The maxima, and the tap of each maximum: row * side + column."""
  rows = _taps(x, 1, side, stride, margin, -jnp.inf)
  numbers = [jnp.uint8(i * side) for i in range(side)]
  maxima, first = _first(rows, numbers)
  maxima, first = lax.optimization_barrier((maxima, first))
  columns = _taps(maxima, 2, side, stride, margin, -jnp.inf)
  numbers = _taps(first, 2, side, stride, margin, _NOWHERE)
  numbers = [number + jnp.uint8(j) for j, number in enumerate(numbers)]
  y, place = _first(columns, numbers)
  return y, (place, x.shape[1:3])


def _backward(side, stride, margin, saved, cotangent):
  """Each cell gets the cotangents of the windows whose maximum it is.

  On each axis, cell `stride m + i` lies in window `m + o` at the tap
  `i + margin - stride o`, if there is such a tap. All cells are compared at
  once, as [b, m, i, n, j, c].
  """
  place, size = saved
  offsets = range(
    (margin - side) // stride + 1, (stride - 1 + margin) // stride + 1
  )
  h, w = (-(-n // stride) for n in size)
  edges = [
    (-offsets[0], n + offsets[-1] - cells, 0)
    for n, cells in zip((h, w), place.shape[1:3], strict=True)
  ]
  edges = ((0, 0, 0), *edges, (0, 0, 0))
  place = lax.pad(place, jnp.asarray(_NOWHERE), edges)
  cotangent = lax.pad(cotangent, jnp.zeros((), cotangent.dtype), edges)
  # Without the barrier, the padding is computed again for every term.
  place, cotangent = lax.optimization_barrier((place, cotangent))
  terms = []
  for o, q in itertools.product(range(len(offsets)), repeat=2):
    taps = _taps_of_cells(side, stride, margin, offsets[o], offsets[q])
    at = (slice(None), slice(o, o + h), None, slice(q, q + w), None)
    found = place[at] == taps[None, None, :, None, :, None]
    terms.append(jnp.where(found, cotangent[at], 0))
  whole = functools.reduce(jnp.add, terms)
  whole = whole.reshape(len(place), h * stride, w * stride, place.shape[-1])
  return (whole[:, : size[0], : size[1]],)


_max_pool.defvjp(_forward, _backward)


def _taps_of_cells(side, stride, margin, row_offset, column_offset):
  """Numbers of the taps of a window that meet the cells [stride, stride]."""
  cells = np.arange(stride) + margin
  rows = (cells - stride * row_offset)[:, None]
  columns = (cells - stride * column_offset)[None]
  inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
  return np.where(inside, rows * side + columns, _NOWHERE).astype(np.uint8)


def _first(taps, numbers):
  """The maximum of the taps, and the least number of a tap that has it."""
  maximum = functools.reduce(jnp.maximum, taps)
  found = [
    jnp.where(tap == maximum, number, _NOWHERE)
    for tap, number in zip(taps, numbers, strict=True)
  ]
  return maximum, functools.reduce(jnp.minimum, found)


def _taps(x, axis, side, stride, margin, outside):
  """Input of each tap of a window along an axis, as one map a tap."""
  n = x.shape[axis]
  cells = (n + 2 * margin - side) // stride + 1
  seen = []
  for begin in range(-margin, side - margin):
    # The windows from `before` up to `after` have this tap on the map.
    before = max(-(begin // stride), 0)
    after = min((n - 1 - begin) // stride + 1, cells)
    inside = lax.slice_in_dim(
      x, begin + stride * before, begin + stride * (after - 1) + 1, stride, axis
    )
    edges = [(0, 0, 0)] * x.ndim
    edges[axis] = (before, cells - after, 0)
    seen.append(lax.pad(inside, jnp.asarray(outside, x.dtype), edges))
  return seen
