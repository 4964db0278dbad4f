"""ConvNeXt-tiny, -small and -base: image -> features.

Liu et al. (2022). Two things are left out: the LayerNorm of the classifier,
after the mean over cells, and stochastic depth, for training from scratch.
"""

from collections.abc import Iterator
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.backbones.backbone import (
  IMAGENET_MEAN,
  IMAGENET_STD,
  Backbone,
  Layer,
  Level,
  recomputed,
)
from protojax.data.resizing import Preprocessing
from protojax.layers.conv import Conv
from protojax.layers.norm import layer_norm
from protojax.weights.naming import Layout, Tensors, naming

# Name -> (blocks of each stage, channels of the first, which double, and
# pixels that the shorter side of an image has in torchvision).
_SIZES = {
  "convnext_tiny": ((3, 3, 9, 3), 96, 236),
  "convnext_small": ((3, 3, 27, 3), 96, 230),
  "convnext_base": ((3, 3, 27, 3), 128, 232),
}
NAMES = tuple(_SIZES)
# Liu et al.'s own weights, on the hub.
_FACEBOOK = dict.fromkeys(
  ("fb_in1k", "fb_in22k", "fb_in22k_ft_in1k"),
  Preprocessing(256, 224, "bicubic"),
)


def load(name: str) -> Backbone:
  """The ConvNeXt of that name, without pretrained weights."""
  blocks, channels, resize = _SIZES[name]
  levels = tuple(
    Level(f"stage_{i}", 2 ** (i + 1), channels << (i - 1)) for i in range(1, 5)
  )
  return Backbone(
    module=ConvNeXt(blocks, channels),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    stride=32,
    layers=tuple(_layers(blocks)),
    channels=levels[-1].channels,
    levels=levels,
    layouts=_LAYOUTS,
    readout="normed mean",
    preprocessing={"": Preprocessing(resize, 224), **_FACEBOOK},
  )


def _layers(blocks: tuple[int, ...]) -> Iterator[Layer]:
  for i, count in enumerate(blocks):
    side = 2 if i else 4
    yield Layer(side, side, "VALID")
    yield from [Layer(7, 1, (3, 3))] * count


class ConvNeXt(nn.Module):
  """Images normalised by ImageNet's mean and deviation -> features.

  Attributes:
    blocks: number in each of the four stages.
    channels: of the first stage; they double from stage to stage.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes blocks again.
  """

  blocks: tuple[int, ...]
  channels: int
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` changes nothing."""
    block = recomputed(_Block, self.remat)
    x = images.astype(self.dtype)
    for i, count in enumerate(self.blocks, start=1):
      side = 2 if i > 1 else 4
      channels = self.channels << (i - 1)
      if i > 1:
        x = layer_norm(x, f"down_{i}_norm")
      x = Conv(channels, side, side, "VALID", bias=True, name=f"down_{i}")(x)
      if i == 1:
        x = layer_norm(x, f"down_{i}_norm")
      for j in range(count):
        x = block(name=f"stage_{i}_block_{j}")(x, train)
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)


class _Block(nn.Module):
  """Adds a depthwise convolution, then a scaled MLP of each cell."""

  @nn.compact
  def __call__(self, x, train):
    del train
    channels = x.shape[-1]
    y = Conv(None, 7, padding=(3, 3), bias=True, name="depthwise")(x)
    y = layer_norm(y, "norm")
    y = nn.Dense(4 * channels, dtype=x.dtype, name="expand")(y)
    y = nn.gelu(y, approximate=False)
    y = nn.Dense(channels, dtype=x.dtype, name="project")(y)
    gamma = self.param("gamma", nn.initializers.constant(1e-6), (channels,))
    return x + gamma.astype(x.dtype)[None, None, None] * y


def _flat_scales(tensors: Tensors) -> Tensors:
  """`layer_scale` [d, 1, 1] -> [d]."""
  return {
    name: x.reshape(-1) if name.endswith("layer_scale") else x
    for name, x in tensors.items()
  }


_LAYOUTS = (
  Layout(
    "torchvision",
    naming(
      ("down_1", "features.0.0"),
      ("down_1_norm", "features.0.1"),
      *((f"down_{i}", f"features.{2 * i - 2}.1") for i in (2, 3, 4)),
      *((f"down_{i}_norm", f"features.{2 * i - 2}.0") for i in (2, 3, 4)),
      *(
        (rf"stage_{i}_block_(\d+)", rf"features.{2 * i - 1}.\1")
        for i in (1, 2, 3, 4)
      ),
      ("depthwise", "block.0"),
      ("norm", "block.2"),
      ("expand", "block.3"),
      ("project", "block.5"),
      ("gamma", "layer_scale"),
    ),
    ("classifier.",),
    _flat_scales,
  ),
  Layout(
    "timm",
    naming(
      ("down_1", "stem.0"),
      ("down_1_norm", "stem.1"),
      *((f"down_{i}", f"stages.{i - 1}.downsample.1") for i in (2, 3, 4)),
      *((f"down_{i}_norm", f"stages.{i - 1}.downsample.0") for i in (2, 3, 4)),
      *(
        (rf"stage_{i}_block_(\d+)", rf"stages.{i - 1}.blocks.\1")
        for i in (1, 2, 3, 4)
      ),
      ("depthwise", "conv_dw"),
      ("expand", "mlp.fc1"),
      ("project", "mlp.fc2"),
    ),
    ("head.",),
  ),
)
