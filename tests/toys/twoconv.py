"""A backbone of two convolutions, which compiles sooner than any of ours.

32 pixels become a 4x4 map of 128 channels, as in `convnet`.
"""

from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from protojax.backbones.backbone import Backbone, Layer, Level
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm

NAMES = ("twoconv",)

# (channels, stride) of each convolution.
_LAYERS = ((16, 4), (128, 2))


def load(name):
  del name  # There is only one.
  return Backbone(
    module=TwoConv(),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    stride=8,
    layers=tuple(Layer(3, stride) for _, stride in _LAYERS),
    channels=128,
    levels=(Level("stage_1", 4, 16), Level("stage_2", 8, 128)),
  )


class TwoConv(nn.Module):
  """Convolutions, each with BatchNorm and ReLU."""

  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, images, train=False):
    x = images.astype(self.dtype)
    for i, (channels, stride) in enumerate(_LAYERS, start=1):
      x = Conv(channels, 3, stride, name=f"conv_{i}")(x)
      x = nn.relu(BatchNorm(name=f"norm_{i}")(x, train))
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)
