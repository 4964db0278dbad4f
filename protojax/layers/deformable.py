"""Convolutions that look where they are told: modulated deformable ones.

Zhu et al. (CVPR 2019): each tap of the kernel is moved by an offset of its own
at every cell, read bilinearly, zero outside of the map, and weighted.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.layers.conv import Conv
from protojax.layers.sampling import sampled

_KERNEL = 3
_TAPS = _KERNEL**2


def deformed(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "3 3 c d"],
  offsets: Float[Array, "b h w 9 2"],
  weights: Float[Array, "b h w 9"],
) -> Float[Array, "b h w d"]:
  """The convolution, stride 1, the map as large as before.

  Tap after tap, so that one moved copy of the map is held at a time; the
  gradient moves it again.

  Args:
    x: the map.
    kernel: as that of a plain convolution.
    offsets: (y, x) in cells, which each tap is moved by, row by row.
    weights: of each tap.
  """
  b, h, w, c = x.shape
  rows, columns = jnp.arange(h, dtype=x.dtype), jnp.arange(w, dtype=x.dtype)
  cells = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), axis=-1)
  around = jnp.stack(jnp.divmod(jnp.arange(_TAPS), _KERNEL), axis=-1) - 1

  @jax.checkpoint
  def add(y: Array, tap: tuple[Array, ...]) -> tuple[Array, None]:
    taps, moves, share, at = tap
    places = cells[None] + at.astype(x.dtype)[None, None, None] + moves
    read = jax.vmap(sampled)(x, places.reshape(b, h * w, 2))
    return y + (read.reshape(b, h, w, c) * share[..., None]) @ taps, None

  taps = (
    kernel.reshape(_TAPS, c, -1),
    jnp.moveaxis(offsets, 3, 0),
    jnp.moveaxis(weights, 3, 0),
    around,
  )
  start = jnp.zeros((b, h, w, kernel.shape[-1]), x.dtype)
  return jax.lax.scan(add, start, taps)[0]


class DeformableConv(nn.Module):
  """A 3x3 convolution whose taps are moved and weighted by what it sees.

  Another convolution gives the offsets and, behind a sigmoid, the weights. It
  starts at zero: no offsets, and each tap counts by half.

  Attributes:
    channels: d.
    start: initialiser of the kernel.
  """

  channels: int
  start: Any

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
    """The convolution of the map, without bias."""
    shape = _KERNEL, _KERNEL, x.shape[-1], self.channels
    kernel = self.param("kernel", self.start, shape)
    zeros = nn.initializers.zeros
    # 18 offsets and 9 weights, in the order of torchvision's operator.
    found = Conv(3 * _TAPS, 3, bias=True, start=zeros, name="offsets")(x)
    offsets = found[..., : 2 * _TAPS].reshape(*x.shape[:3], _TAPS, 2)
    weights = nn.sigmoid(found[..., 2 * _TAPS :])
    return deformed(x, jnp.asarray(kernel, x.dtype), offsets, weights)
