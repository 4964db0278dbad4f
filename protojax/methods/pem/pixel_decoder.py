"""PEM's pixel decoder: levels of a backbone -> memory, and features of masks.

From the coarsest level to the finest: a level is gated by its own context
(CSM), the coarser one is added, a deformable convolution gives the memory, and
a transposed one doubles it for the next level.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from protojax.layers.conv import Conv
from protojax.layers.deformable import DeformableConv
from protojax.layers.norm import BatchNorm
from protojax.layers.transposed import Doubled
from protojax.types import Array

# PyTorch's kaiming_normal(a=1), and its c2_msra_fill.
_KAIMING = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_MSRA = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Projection(nn.Module):
  """1x1 convolution, BatchNorm and ReLU.

  Attributes:
    channels: d.
  """

  channels: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b h w d"]:
    """The map in other channels."""
    x = Conv(self.channels, start=_KAIMING, name="conv")(x)
    return nn.relu(BatchNorm(name="norm")(x, train))


class Gate(nn.Module):
  """Context-based self-modulation (CSM): x + x sigmoid(sigmoid(MLP(mean x))).

  The second sigmoid is in the authors' code: a gate is between 0.5 and 0.73.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b h w c"]:
    """The map, its channels gated by its mean."""
    channels = x.shape[-1]
    context = jnp.mean(x, axis=(1, 2), keepdims=True)
    y = Conv(channels // 2, name="reduce")(context)
    y = nn.relu(BatchNorm(name="norm")(y, train))
    y = Conv(channels, name="expand")(y)
    return x + x * nn.sigmoid(nn.sigmoid(y))


class PixelDecoder(nn.Module):
  """Maps of a backbone -> features of masks, and the memory of queries.

  Attributes:
    channels: of the maps within.
    mask_channels: of the features of masks.
    deformable: whether convolutions are deformable; else plain 3x3 ones.
    gated: whether levels are gated by their context.
  """

  channels: int
  mask_channels: int
  deformable: bool = True
  gated: bool = True

  @nn.compact
  def __call__(
    self, maps: Sequence[Float[Array, "b _ _ _"]], train: bool = False
  ) -> tuple[Float[Array, "b h w m"], tuple[Float[Array, "b _ _ c"], ...]]:
    """Features at the size of the finest map, and memory, the coarsest first.

    Args:
      maps: of the backbone, the finest first; each is half of the one before.
      train: BatchNorm normalises by the batch, and moves.
    """
    coarsest = jnp.mean(maps[-1], axis=(1, 2), keepdims=True)
    above = Projection(self.channels, name="context")(coarsest, train)
    memory = []
    for number, level in enumerate(reversed(maps[1:])):
      x = self._level(level, above, number, train)
      x = self._convolved(x, number)
      x = nn.relu(BatchNorm(name=f"norm_{number}")(x, train))
      memory.append(x)
      above = Doubled(self.channels, name=f"double_{number}")(x)
      above = nn.relu(BatchNorm(name=f"double_norm_{number}")(above, train))
    x = self._level(maps[0], above, len(memory), train)
    features = Projection(self.mask_channels, name="out")(x, train)
    return features, tuple(memory)

  def _level(self, level, above, number, train):
    x = Projection(self.channels, name=f"level_{number}")(level, train)
    if self.gated:
      x = Gate(name=f"gate_{number}")(x, train)
    return x + above

  def _convolved(self, x, number):
    name = f"conv_{number}"
    if self.deformable:
      return DeformableConv(self.channels, _MSRA, name=name)(x)
    return Conv(self.channels, 3, name=name)(x)
