"""VGG-11 to -19, with and without BatchNorm: image -> features.

Simonyan and Zisserman (2015). The last max-pooling is included, so that 224
pixels become 7 x 7 cells, as in ProtoPNet; `_stride16` is without it: 14 x 14,
as in ST-ProtoPNet for whole images.
"""

from collections.abc import Iterator
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.backbones.backbone import (
  IMAGENET_MEAN,
  IMAGENET_STD,
  TORCHVISION,
  Backbone,
  Layer,
  Level,
  recomputed,
)
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm
from protojax.layers.pool import max_pool
from protojax.weights.naming import Layout, naming

# Depth -> convolutions of each stage; a stage ends in a pooling.
_DEPTHS = {
  11: (1, 1, 2, 2, 2),
  13: (2, 2, 2, 2, 2),
  16: (2, 2, 3, 3, 3),
  19: (2, 2, 4, 4, 4),
}
_CHANNELS = (64, 128, 256, 512, 512)

# Name -> (depth, whether BatchNorm follows each convolution, whether the last
# stage ends in a pooling, too).
_NAMES = {
  f"vgg{depth}{norm}{cut}": (depth, bool(norm), not cut)
  for depth in _DEPTHS
  for norm in ("", "_bn")
  for cut in ("", "_stride16")
}
NAMES = tuple(_NAMES)


def load(name: str) -> Backbone:
  """The VGG of that name, without pretrained weights."""
  depth, norm, pooled = _NAMES[name]
  counts = _DEPTHS[depth]
  layers = tuple(_layers(counts))
  strides = (2, 4, 8, 16, 32 if pooled else 16)
  return Backbone(
    module=VGG(counts, norm, pooled),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    stride=strides[-1],
    layers=layers if pooled else layers[:-1],
    channels=_CHANNELS[-1],
    levels=tuple(
      Level(f"stage_{i}", strides[i - 1], channels)
      for i, channels in enumerate(_CHANNELS, start=1)
    ),
    layouts=(_layout(counts, norm),),
    preprocessing={"": TORCHVISION, "tv_in1k": TORCHVISION},
  )


def _layers(counts: tuple[int, ...]) -> Iterator[Layer]:
  for count in counts:
    yield from [Layer(3, 1, (1, 1))] * count
    yield Layer(2, 2, "VALID")


class VGG(nn.Module):
  """Images normalised by ImageNet's mean and deviation -> features.

  Attributes:
    counts: number of convolutions in each of the five stages.
    norm: whether BatchNorm follows each convolution.
    pooled: whether the last stage ends in a pooling, as the others do.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes stages again.
    synchronised: whether BatchNorm averages over devices in training.
  """

  counts: tuple[int, ...]
  norm: bool
  pooled: bool = True
  dtype: Any = jnp.float32
  remat: bool = False
  synchronised: bool = True

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    stage = recomputed(_Stage, self.remat)
    x = images.astype(self.dtype)
    for i, count in enumerate(self.counts, start=1):
      pooled = self.pooled or i < len(self.counts)
      shape = count, _CHANNELS[i - 1], self.norm, pooled, self.synchronised
      x = stage(*shape, name=f"block_{i}")(x, train)
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)


class _Stage(nn.Module):
  """Convolutions of one number of channels, and a pooling or none."""

  count: int
  channels: int
  norm: bool
  pooled: bool
  synchronised: bool

  @nn.compact
  def __call__(self, x, train):
    for i in range(1, self.count + 1):
      conv = Conv(self.channels, 3, padding=(1, 1), bias=True, name=f"conv_{i}")
      x = conv(x)
      if self.norm:
        norm = BatchNorm(synchronised=self.synchronised, name=f"norm_{i}")
        x = norm(x, train)
      x = nn.relu(x)
    return max_pool(x, 2, 2) if self.pooled else x


def _layout(counts: tuple[int, ...], norm: bool) -> Layout:
  """Layout of torchvision: numbers count norms, ReLUs and poolings, too."""
  rules, n = [], 0
  for stage, count in enumerate(counts, start=1):
    for i in range(1, count + 1):
      rules.append((f"block_{stage}/conv_{i}", f"features.{n}"))
      rules.append((f"block_{stage}/norm_{i}", f"features.{n + 1}"))
      n += 3 if norm else 2
    n += 1
  classifier = ("classifier.", "pre_logits.", "head.")
  return Layout("torchvision and timm", naming(*rules), classifier)
