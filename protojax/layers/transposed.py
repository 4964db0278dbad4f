"""The transposed convolution that doubles a map: 4x4, stride 2.

It is computed as four convolutions of 2x2, one for each place in a cell, which
is the same sum without the zeros between cells; XLA has no fast way on CPU for
a convolution with these zeros.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.layers.conv import convolve

_SIDE = 4
# Place in a cell -> taps of the kernel, on the cell before and on the next one.
_TAPS = ((3, 1), (2, 0))


def doubled(
  x: Float[Array, "b h w c"], kernel: Float[Array, "4 4 c d"]
) -> Float[Array, "b 2*h 2*w d"]:
  """PyTorch's `conv_transpose2d(x, kernel, stride=2, padding=1)`.

  Args:
    x: the map.
    kernel: cell i of an axis adds `kernel[k]` to place 2 i - 1 + k.
  """
  b, h, w, _ = x.shape
  padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  rows = []
  for a in (0, 1):
    columns = []
    for e in (0, 1):
      part = padded[:, a : a + h + 1, e : e + w + 1]
      taps = kernel[jnp.array(_TAPS[a])][:, jnp.array(_TAPS[e])]
      columns.append(convolve(part, taps, padding="VALID"))
    rows.append(jnp.stack(columns, axis=3))
  found = jnp.stack(rows, axis=2)
  return found.reshape(b, 2 * h, 2 * w, kernel.shape[-1])


def bilinear(
  key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32
) -> Float[Array, "4 4 c d"]:
  """A kernel that doubles each channel by itself, bilinearly."""
  del key
  side = jnp.array([0.25, 0.75, 0.75, 0.25], dtype)
  return jnp.einsum(
    "i,j,cd->ijcd", side, side, jnp.eye(*shape[2:], dtype=dtype)
  )


class Doubled(nn.Module):
  """Doubles a map; starts as bilinear.

  Attributes:
    channels: d.
  """

  channels: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w d"]:
    """The map at twice its size, without bias."""
    shape = _SIDE, _SIDE, x.shape[-1], self.channels
    kernel = self.param("kernel", bilinear, shape)
    return doubled(x, jnp.asarray(kernel, x.dtype))
