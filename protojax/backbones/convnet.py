"""Small networks to train from scratch, for small images: image -> features.

3x3 convolutions, each with BatchNorm and ReLU. Of "convnet" there are four: 64
pixels become an 8x8 map of 128 channels. A cell of "convnet_local" sees 15
pixels and not most of a small image; 36 pixels become a 9x9 map of 64 channels.
"convnet_levels" halves the map four times, for methods that read four levels.
"""

import math
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.backbones.backbone import Backbone, Layer, Level
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm

# (channels, stride) of each convolution.
_LAYERS = ((32, 2), (64, 2), (128, 2), (128, 1))
_NETS = {
  "convnet": _LAYERS,
  "convnet_local": ((32, 2), (48, 2), (64, 1)),
  "convnet_levels": ((32, 2), (64, 2), (96, 2), (128, 2)),
}
NAMES = tuple(_NETS)


def load(name: str) -> Backbone:
  """One of the networks, without pretrained weights."""
  layers = _NETS[name]
  levels = tuple(
    Level(f"stage_{i}", math.prod(s for _, s in layers[:i]), channels)
    for i, (channels, _) in enumerate(layers, start=1)
  )
  return Backbone(
    module=ConvNet(convolutions=layers),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    stride=levels[-1].stride,
    layers=tuple(Layer(3, stride) for _, stride in layers),
    channels=layers[-1][0],
    levels=levels,
  )


class ConvNet(nn.Module):
  """Normalised images -> features.

  Attributes:
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes layers again.
    synchronised: whether BatchNorm averages over devices in training.
    convolutions: channels and stride of each.
  """

  dtype: Any = jnp.float32
  remat: bool = False
  synchronised: bool = True
  convolutions: tuple[tuple[int, int], ...] = _LAYERS

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    layer = nn.remat(_layer, static_argnums=(2, 3)) if self.remat else _layer
    x = images.astype(self.dtype)
    for i in range(1, len(self.convolutions) + 1):
      x = layer(self, x, i, train)
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)


def _layer(module: ConvNet, x, i, train):
  channels, stride = module.convolutions[i - 1]
  x = Conv(channels, 3, stride, parent=module, name=f"conv_{i}")(x)
  norm = BatchNorm(
    synchronised=module.synchronised, parent=module, name=f"norm_{i}"
  )
  return nn.relu(norm(x, train))
