"""A small network to train from scratch, for small images: image -> features.

Four 3x3 convolutions, each with BatchNorm and ReLU: 64 pixels become an 8x8
map of 128 channels.
"""

import math
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.backbones.backbone import Backbone, Layer, Level
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm

NAMES = ("convnet",)

# (channels, stride) of each convolution.
_LAYERS = ((32, 2), (64, 2), (128, 2), (128, 1))


def load(name: str) -> Backbone:
  """The network, without pretrained weights."""
  del name  # There is only one.
  return Backbone(
    module=ConvNet(),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    stride=8,
    layers=tuple(Layer(3, stride) for _, stride in _LAYERS),
    channels=_LAYERS[-1][0],
    levels=tuple(
      Level(f"stage_{i}", math.prod(s for _, s in _LAYERS[:i]), channels)
      for i, (channels, _) in enumerate(_LAYERS, start=1)
    ),
  )


class ConvNet(nn.Module):
  """Normalised images -> features.

  Attributes:
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes layers again.
    synchronised: whether BatchNorm averages over devices in training.
  """

  dtype: Any = jnp.float32
  remat: bool = False
  synchronised: bool = True

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    layer = nn.remat(_layer, static_argnums=(2, 3)) if self.remat else _layer
    x = images.astype(self.dtype)
    for i in range(1, len(_LAYERS) + 1):
      x = layer(self, x, i, train)
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)


def _layer(module: ConvNet, x, i, train):
  channels, stride = _LAYERS[i - 1]
  x = Conv(channels, 3, stride, parent=module, name=f"conv_{i}")(x)
  norm = BatchNorm(
    synchronised=module.synchronised, parent=module, name=f"norm_{i}"
  )
  return nn.relu(norm(x, train))
