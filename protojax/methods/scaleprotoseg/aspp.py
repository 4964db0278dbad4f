"""ASPP: convolutions of several dilations over one map, one for each scale.

ScaleProtoSeg keeps the branches apart: each is a scale that prototypes belong
to. DeepLabV2 and ProtoSeg add them up.
"""

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.layers.conv import convolve

_DEVIATION = 0.01  # of the kernels at the start, as in DeepLabV2's code


class Aspp(nn.Module):
  """A map -> features of each scale, before the sigmoid.

  Attributes:
    rates: dilation of each branch.
    channels: d, of each branch.
    summed: whether the branches are added up to a single scale.
  """

  rates: tuple[int, ...]
  channels: int
  summed: bool

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w s d"]:
    """s is the number of branches, or 1."""
    normal, zeros = nn.initializers.normal(_DEVIATION), nn.initializers.zeros
    shape = 3, 3, x.shape[-1], self.channels
    found = []
    for number, rate in enumerate(self.rates):
      kernel = self.param(f"kernel_{number}", normal, shape)
      bias = self.param(f"bias_{number}", zeros, (self.channels,))
      y = convolve(x, kernel, 1, (rate, rate), rate)
      found.append(y + bias[None, None, None])
    stacked = jnp.stack(found, axis=3)
    return stacked.sum(axis=3, keepdims=True) if self.summed else stacked
