"""STDC1 and STDC2: image -> features, light networks for classes of pixels.

Fan et al. (CVPR 2021). A block puts the maps of four convolutions side by side,
each half as wide as the one before, so that a cell sees small and large
surroundings at once.
"""

import functools
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
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm
from protojax.weights.naming import Layout, naming

# Name -> blocks of the stages with a stride of 8, 16 and 32 pixels.
_NAMES = {"stdc1": (2, 2, 2), "stdc2": (4, 5, 3)}
NAMES = tuple(_NAMES)

_STEM = (32, 64)
_WIDTHS = (256, 512, 1024)
_MAPS = 4  # of a block, side by side
_AROUND = (1, 1)


def load(name: str) -> Backbone:
  """The network of that name, without pretrained weights."""
  blocks = _NAMES[name]
  layers = [Layer(3, 2, _AROUND)] * len(_STEM)
  for count in blocks:
    layers.append(Layer(3, 2, _AROUND))
    layers += [Layer(3, 1, _AROUND)] * ((_MAPS - 1) * count)
  return Backbone(
    module=Stdc(blocks),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    stride=32,
    layers=tuple(layers),
    channels=_WIDTHS[-1],
    levels=tuple(
      Level(f"stage_{i}", 2**i, width)
      for i, width in enumerate((*_STEM, *_WIDTHS), start=1)
    ),
    layouts=(_layout(blocks),),
    readout="other",
  )


class Stdc(nn.Module):
  """Images normalised by ImageNet's mean and deviation -> features.

  Attributes:
    blocks: number in each of the last three stages.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes blocks again.
  """

  blocks: tuple[int, ...]
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    block = recomputed(_Block, self.remat)
    x = images.astype(self.dtype)
    for i, width in enumerate(_STEM, start=1):
      x = Conv(width, 3, 2, _AROUND, name=f"stem_{i}")(x)
      x = nn.relu(BatchNorm(name=f"stem_norm_{i}")(x, train))
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    for i, (width, count) in enumerate(
      zip(_WIDTHS, self.blocks, strict=True), start=len(_STEM) + 1
    ):
      for j in range(count):
        x = block(width, j == 0, name=f"stage_{i}_block_{j}")(x, train)
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)


class _Block(nn.Module):
  """Four convolutions, one after the other, whose maps are joined.

  Attributes:
    width: channels of all maps together.
    strided: whether all maps but the first come of a smaller one, which is
      averaged.
  """

  width: int
  strided: bool

  @nn.compact
  def __call__(self, x, train):
    conv = functools.partial(Conv, padding=_AROUND)
    first = Conv(self.width // 2, 1, name="conv_1")(x)
    first = nn.relu(BatchNorm(name="norm_1")(first, train))
    y = first
    if self.strided:
      y = conv(None, 3, 2, name="down")(y)
      y = BatchNorm(name="down_norm")(y, train)
      # Cells beyond the edge are zeros, and count.
      edges = (_AROUND, _AROUND)
      first = nn.avg_pool(first, (3, 3), (2, 2), edges)
    found = [first]
    for n in range(2, _MAPS + 1):
      # The last map is as wide as the one before.
      width = self.width >> min(n, _MAPS - 1)
      y = conv(width, 3, name=f"conv_{n}")(y)
      y = nn.relu(BatchNorm(name=f"norm_{n}")(y, train))
      found.append(y)
    return jnp.concatenate(found, axis=-1)


def _layout(blocks: tuple[int, ...]) -> Layout:
  """The authors' names: stem and blocks are numbered through."""
  places = [(i, j) for i, count in enumerate(blocks) for j in range(count)]
  return Layout(
    "STDC",
    naming(
      *((f"stem_{i}", f"features.{i - 1}.conv") for i in (1, 2)),
      *((f"stem_norm_{i}", f"features.{i - 1}.bn") for i in (1, 2)),
      *(
        (f"stage_{i + 3}_block_{j}", f"features.{n}")
        for n, (i, j) in enumerate(places, start=len(_STEM))
      ),
      *((f"conv_{n}", f"conv_list.{n - 1}.conv") for n in range(1, 5)),
      *((f"norm_{n}", f"conv_list.{n - 1}.bn") for n in range(1, 5)),
      ("down", "avd_layer.0"),
      ("down_norm", "avd_layer.1"),
    ),
    # Of the classifier; and the same layers once more, by their stride.
    (
      *("conv_last.", "fc.", "bn.", "linear."),
      *("x2.", "x4.", "x8.", "x16.", "x32."),
    ),
  )
