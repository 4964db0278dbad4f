"""DenseNet-121 to -201: image -> features.

Huang et al. (2017). The last BatchNorm and a ReLU are included, as in
ProtoPNet.
"""

from collections.abc import Iterator
import functools
import re
from typing import Any, NamedTuple

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
from protojax.weights.naming import Layout, Tensors, naming


class _Shape(NamedTuple):
  """Sizes of one DenseNet."""

  layers: tuple[int, ...]
  growth: int = 32
  stem: int = 64

  @property
  def channels(self) -> tuple[int, ...]:
    """Channels of the map of each dense block."""
    found, channels = [], self.stem
    for count in self.layers:
      channels += count * self.growth
      found.append(channels)
      channels //= 2
    return tuple(found)


_SHAPES = {
  "densenet121": _Shape((6, 12, 24, 16)),
  "densenet161": _Shape((6, 12, 36, 24), growth=48, stem=96),
  "densenet169": _Shape((6, 12, 32, 32)),
  "densenet201": _Shape((6, 12, 48, 32)),
}
NAMES = tuple(_SHAPES)


def load(name: str) -> Backbone:
  """The DenseNet of that name, without pretrained weights."""
  shape = _SHAPES[name]
  return Backbone(
    module=DenseNet(*shape),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    stride=32,
    layers=tuple(_layers(shape.layers)),
    channels=shape.channels[-1],
    levels=tuple(
      Level(f"stage_{i}", 2 ** (i + 1), channels)
      for i, channels in enumerate(shape.channels, start=1)
    ),
    layouts=_LAYOUTS,
    readout="mean",
    preprocessing={"": TORCHVISION, "tv_in1k": TORCHVISION},
  )


def _layers(counts: tuple[int, ...]) -> Iterator[Layer]:
  yield Layer(7, 2, (3, 3))
  yield Layer(3, 2, (1, 1))
  for i, count in enumerate(counts):
    if i:
      yield Layer(2, 2, "VALID")
    yield from [Layer(3, 1, (1, 1))] * count


class DenseNet(nn.Module):
  """Images normalised by ImageNet's mean and deviation -> features.

  Attributes:
    layers: number in each dense block.
    growth: channels that each layer adds.
    stem: channels before the first block.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes layers again.
    synchronised: whether BatchNorm averages over devices in training.
  """

  layers: tuple[int, ...]
  growth: int = 32
  stem: int = 64
  dtype: Any = jnp.float32
  remat: bool = False
  synchronised: bool = True

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    norm = functools.partial(BatchNorm, synchronised=self.synchronised)
    layer = recomputed(_Layer, self.remat)
    x = images.astype(self.dtype)
    x = Conv(self.stem, 7, 2, (3, 3), name="stem")(x)
    x = nn.relu(norm(name="stem_norm")(x, train))
    x = max_pool(x, 3, 2, 1)
    for i, count in enumerate(self.layers, start=1):
      if i > 1:
        x = Conv(x.shape[-1] // 2, name=f"transition_{i - 1}")(x)
        x = nn.avg_pool(x, (2, 2), (2, 2))
      for j in range(1, count + 1):
        new = layer(self.growth, norm, name=f"block_{i}_layer_{j}")(x, train)
        x = jnp.concatenate([x, new], axis=-1)
      x = nn.relu(norm(name=f"block_{i}_norm")(x, train))
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)


class _Layer(nn.Module):
  """A narrow 1x1 and a 3x3 convolution, each after BatchNorm and ReLU."""

  growth: int
  norm: functools.partial

  @nn.compact
  def __call__(self, x, train):
    x = nn.relu(self.norm(name="norm_1")(x, train))
    x = Conv(4 * self.growth, name="conv_1")(x)
    x = nn.relu(self.norm(name="norm_2")(x, train))
    return Conv(self.growth, 3, padding=(1, 1), name="conv_2")(x)


def _as_today(tensors: Tensors) -> Tensors:
  """Published files have "norm.1" for the "norm1" of today's module."""
  old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
  return {old.sub(r"\1\2", name): x for name, x in tensors.items()}


_LAYOUTS = (
  Layout(
    "torchvision and timm",
    naming(
      ("stem", "features.conv0"),
      ("stem_norm", "features.norm0"),
      (r"block_(\d)_layer_(\d+)", r"features.denseblock\1.denselayer\2"),
      ("block_4_norm", "features.norm5"),
      (r"block_(\d)_norm", r"features.transition\1.norm"),
      (r"transition_(\d)", r"features.transition\1.conv"),
      (r"(conv|norm)_(\d)", r"\1\2"),
    ),
    ("classifier.",),
    _as_today,
  ),
)
