"""ResNet-18 to -152: image -> features.

He et al. (2016). The 3x3 convolution of a bottleneck has the stride, as in
torchvision ("v1.5"). The last stages can be dilated and not strided, for a
finer map with the same weights (`_stride16`, `_stride8`). `_deeplab` is the
form of DeepLabV2 (Chen et al., 2018; its PyTorch code): stride 8, every block
of a dilated stage has the whole dilation, the pooling keeps the last cell, and
the first convolution of a bottleneck has the stride, whatever the weights were
trained with.
"""

from collections.abc import Iterator
import functools
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
from protojax.data.resizing import Preprocessing
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm
from protojax.layers.pool import max_pool
from protojax.weights.naming import Layout, Tensors, naming

# BBN's ResNet-50, with both of its last blocks one after the other, as in the
# code of ST-ProtoPNet and of EvalProtoPNet.
_WITH_BOTH = 53

# Depth -> (blocks of each stage, whether they are bottlenecks).
_DEPTHS = {
  18: ((2, 2, 2, 2), False),
  34: ((3, 4, 6, 3), False),
  50: ((3, 4, 6, 3), True),
  _WITH_BOTH: ((3, 4, 6, 4), True),
  101: ((3, 4, 23, 3), True),
  152: ((3, 8, 36, 3), True),
}
_STEM = 64

# Name -> (depth, stride of the features, whether it is DeepLab's).
_NAMES = {
  f"resnet{depth}{suffix}": (depth, stride, suffix == "_deeplab")
  for depth in _DEPTHS
  for suffix, stride in (
    *(("", 32), ("_stride16", 16), ("_stride8", 8)),
    ("_deeplab", 8),
  )
}
NAMES = tuple(_NAMES)


def load(name: str) -> Backbone:
  """The ResNet of that name, without pretrained weights."""
  depth, stride, deeplab = _NAMES[name]
  module = ResNet(*_DEPTHS[depth], stride, deeplab)
  stages = tuple(module.stages())
  widths = [stage[-1][-1].channels for stage in stages]
  return Backbone(
    module=module,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    stride=stride,
    layers=(
      Layer(7, 2, (3, 3)),
      Layer(3, 2, (1, 2 if deeplab else 1)),
      *(step.layer for stage in stages for block in stage for step in block),
    ),
    channels=widths[-1],
    levels=tuple(
      Level(f"stage_{i}", min(2 ** (i + 1), stride), width)
      for i, width in enumerate(widths, start=1)
    ),
    layouts=(
      _TORCHVISION,
      _BOTH if depth == _WITH_BOTH else _BBN,
      *((_DEEPLAB,) if deeplab else ()),
    ),
    readout="mean",
    preprocessing=_PREPROCESSING,
  )


_PREPROCESSING = {
  "": TORCHVISION,
  "tv_in1k": TORCHVISION,
  "tv2_in1k": Preprocessing(232, 224),
  "gluon_in1k": Preprocessing(256, 224, "bicubic"),
  "a1_in1k": Preprocessing(235, 224, "bicubic"),
}


class _Step(NamedTuple):
  """One convolution of a block."""

  channels: int
  kernel: int = 1
  stride: int = 1
  dilation: int = 1

  @property
  def padding(self) -> tuple[int, int]:
    reach = self.kernel // 2 * self.dilation
    return reach, reach

  @property
  def layer(self) -> Layer:
    return Layer(2 * self.padding[0] + 1, self.stride, self.padding)


class ResNet(nn.Module):
  """Images normalised by ImageNet's mean and deviation -> features.

  Attributes:
    blocks: number in each of the four stages.
    bottleneck: whether a block is 1x1, 3x3, 1x1; else it is 3x3, 3x3.
    stride: pixels from cell to cell of the features: 32, 16 or 8.
    deeplab: whether a stage's first block has its whole dilation, the first
      convolution of a bottleneck has the stride, and the pooling rounds up: 513
      and 512 pixels both become 65 cells.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes blocks again.
    synchronised: whether BatchNorm averages over devices in training.
  """

  blocks: tuple[int, ...]
  bottleneck: bool
  stride: int = 32
  deeplab: bool = False
  dtype: Any = jnp.float32
  remat: bool = False
  synchronised: bool = True

  def stages(self) -> Iterator[list[tuple[_Step, ...]]]:
    """The convolutions of every block, stage by stage.

    A stage that may not stride is dilated; its first block has the dilation of
    the stage before (Yu et al., 2017, as in torchvision), or its own.
    """
    stride, dilation = 4, 1
    for i, count in enumerate(self.blocks):
      width, step, before = _STEM << i, 2 if i else 1, dilation
      if stride * step > self.stride:
        dilation, step = dilation * step, 1
      stride *= step
      if self.deeplab:
        before = dilation
      yield [
        self._block(width, step, before, dilation),
        *[self._block(width, 1, dilation, dilation)] * (count - 1),
      ]

  def _block(self, width, stride, before, dilation) -> tuple[_Step, ...]:
    if self.bottleneck:
      first, second = (stride, 1) if self.deeplab else (1, stride)
      middle = _Step(width, 3, second, before)
      return _Step(width, 1, first), middle, _Step(4 * width)
    return _Step(width, 3, stride, before), _Step(width, 3, 1, dilation)

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    norm = functools.partial(BatchNorm, synchronised=self.synchronised)
    block = recomputed(_Block, self.remat)
    x = images.astype(self.dtype)
    x = Conv(_STEM, 7, 2, (3, 3), name="stem")(x)
    x = nn.relu(norm(name="stem_norm")(x, train))
    if self.deeplab:
      # After a ReLU, a cell of zeros is never the maximum of others.
      x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    x = max_pool(x, 3, 2, 1)
    for i, stage in enumerate(self.stages(), start=1):
      for j, steps in enumerate(stage):
        x = block(steps, norm, name=f"stage_{i}_block_{j}")(x, train)
      self.sow("intermediates", f"stage_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)


class _Block(nn.Module):
  """Convolutions, each with BatchNorm, and a shortcut around them."""

  steps: tuple[_Step, ...]
  norm: functools.partial

  @nn.compact
  def __call__(self, x, train):
    y = x
    for i, step in enumerate(self.steps, start=1):
      conv = Conv(
        step.channels,
        step.kernel,
        step.stride,
        step.padding,
        step.dilation,
        name=f"conv_{i}",
      )
      y = self.norm(name=f"norm_{i}")(conv(y), train)
      if i < len(self.steps):
        y = nn.relu(y)
    if x.shape != y.shape:
      stride = max(step.stride for step in self.steps)
      x = Conv(y.shape[-1], 1, stride, name="shortcut")(x)
      x = self.norm(name="shortcut_norm")(x, train)
    return nn.relu(x + y)


def _one_branch(tensors: Tensors) -> Tensors:
  """Takes one of the two last blocks of a bilateral-branch network (BBN).

  `cb` was trained on images as they come, `rb` on all classes equally often.
  """
  return {
    name.removeprefix("backbone.").replace("cb_block.", "layer4.2."): tensor
    for name, tensor in tensors.items()
  }


def _both_branches(tensors: Tensors) -> Tensors:
  """Takes both of the last blocks of a bilateral-branch network, `cb` first."""
  return {
    name.replace("rb_block.", "layer4.3."): tensor
    for name, tensor in _one_branch(tensors).items()
  }


_foreign_name = naming(
  ("stem", "conv1"),
  ("stem_norm", "bn1"),
  (r"stage_(\d)_block_(\d+)", r"layer\1.\2"),
  (r"conv_(\d)", r"conv\1"),
  (r"norm_(\d)", r"bn\1"),
  ("shortcut", "downsample.0"),
  ("shortcut_norm", "downsample.1"),
)
_TORCHVISION = Layout("torchvision and timm", _foreign_name, ("fc.",))
# kazuto1011/deeplab-pytorch, with the weights for COCO and VOC; Caffe's own are
# converted to it. Blocks and layers are counted from 1, the stem among them.
_DEEPLAB = Layout(
  "DeepLabV2",
  naming(
    ("stem", "layer1.conv1.conv"),
    ("stem_norm", "layer1.conv1.bn"),
    *(
      (f"stage_{i}_block_{j}", f"layer{i + 1}.block{j + 1}")
      for i in range(1, 5)
      for j in range(36)
    ),
    *(
      (f"{ours}_{n}", f"{name}.{theirs}")
      for n, name in enumerate(("reduce", "conv3x3", "increase"), start=1)
      for ours, theirs in (("conv", "conv"), ("norm", "bn"))
    ),
    ("shortcut", "shortcut.conv"),
    ("shortcut_norm", "shortcut.bn"),
  ),
  ("aspp.",),
  lambda tensors: {n.removeprefix("base."): x for n, x in tensors.items()},
)
_BBN = Layout("BBN", _foreign_name, ("rb_block.", "classifier."), _one_branch)
_BOTH = Layout("BBN", _foreign_name, ("classifier.",), _both_branches)
