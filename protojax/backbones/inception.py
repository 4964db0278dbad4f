"""Inception-v3: image -> features.

Szegedy et al. (2016). There are two networks with tensors of the same names.
`inception_v3` is torchvision's. `inception_v3_fid` is the one that the Frechet
Inception distance is measured with (Heusel et al., 2017): TensorFlow's graph of
December 2015 with 1008 logits, whose weights are published for PyTorch as
`pt_inception-2015-12-05`. Its average poolings count no padding, and its last
block pools by the maximum.

The FID's features, "pool3", are the means of the map over its cells. They are
those of images of 299 x 299 pixels; `metrics.generation_features` resizes them.
"""

from collections.abc import Iterator
import functools
from typing import Any

from flax import linen as nn
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.backbones.backbone import Backbone, Layer, Level, recomputed
from protojax.data.resizing import Preprocessing
from protojax.layers.conv import Conv, Padding
from protojax.layers.norm import BatchNorm
from protojax.layers.pool import max_pool
from protojax.types import UserError
from protojax.weights.naming import Layout, Tensors, naming

# Name -> whether it is the network of the FID.
_NAMES = {"inception_v3": False, "inception_v3_fid": True}
NAMES = tuple(_NAMES)

# Side of the images that both were trained with.
SIZE = 299
# Logits of the network of the FID; torchvision's has 1000.
_LOGITS_FID = 1008
_HALF = (0.5, 0.5, 0.5)
_EPSILON = 1e-3


def load(name: str) -> Backbone:
  """The Inception-v3 of that name, without pretrained weights."""
  fid = _NAMES[name]
  resize = SIZE if fid else 342
  return Backbone(
    module=Inception(fid),
    mean=_HALF,
    std=_HALF,
    stride=32,
    layers=tuple(_layers()),
    channels=2048,
    levels=(
      Level("mixed_5", 8, 288),
      Level("mixed_6", 16, 768),
      Level("mixed_7", 32, 2048),
    ),
    layouts=(_layout(fid),),
    readout="mean",
    preprocessing={"": Preprocessing(resize, SIZE)},
  )


def _layers() -> Iterator[Layer]:
  """The widest way through each block."""
  yield Layer(3, 2, "VALID")
  yield Layer(3, 1, "VALID")
  yield Layer(3, 1, (1, 1))
  yield Layer(3, 2, "VALID")
  yield Layer(3, 1, "VALID")
  yield Layer(3, 2, "VALID")
  yield from [Layer(5, 1, (2, 2))] * 3
  yield Layer(3, 1, (1, 1))
  yield Layer(3, 2, "VALID")
  yield from [Layer(7, 1, (3, 3))] * 8
  yield Layer(7, 1, (3, 3))
  yield Layer(3, 2, "VALID")
  yield from [Layer(3, 1, (1, 1))] * 4


class Inception(nn.Module):
  """Images scaled to -1..1 -> features.

  Attributes:
    fid: whether it is the network of the FID, else torchvision's.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes blocks again.
    synchronised: whether BatchNorm averages over devices in training.
  """

  fid: bool
  dtype: Any = jnp.float32
  remat: bool = False
  synchronised: bool = True

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    norm = functools.partial(
      BatchNorm, epsilon=_EPSILON, synchronised=self.synchronised
    )

    def unit(x, name, channels, kernel, stride=1, padding: Padding = "VALID"):
      made = _Unit(norm, channels, (kernel, kernel), stride, padding, name=name)
      return made(x, train)

    def block(x, kind, name, width=0, average=True):
      made = recomputed(kind, self.remat)
      return made(norm, width, average, not self.fid, name=name)(x, train)

    x = images.astype(self.dtype)
    x = unit(x, "conv_1a", 32, 3, 2)
    x = unit(x, "conv_2a", 32, 3)
    x = unit(x, "conv_2b", 64, 3, padding="SAME")
    x = max_pool(x, 3, 2)
    x = unit(x, "conv_3b", 80, 1)
    x = unit(x, "conv_4a", 192, 3)
    x = max_pool(x, 3, 2)
    for letter, pooled in zip("bcd", (32, 64, 64), strict=True):
      x = block(x, _BlockA, f"mixed_5{letter}", pooled)
    self.sow("intermediates", "mixed_5", x.astype(jnp.float32))
    x = block(x, _BlockB, "mixed_6a")
    for letter, width in zip("bcde", (128, 160, 160, 192), strict=True):
      x = block(x, _BlockC, f"mixed_6{letter}", width)
    self.sow("intermediates", "mixed_6", x.astype(jnp.float32))
    x = block(x, _BlockD, "mixed_7a")
    x = block(x, _BlockE, "mixed_7b")
    x = block(x, _BlockE, "mixed_7c", average=not self.fid)
    self.sow("intermediates", "mixed_7", x.astype(jnp.float32))
    return x.astype(jnp.float32)


def pool(
  x: Float[Array, "b h w c"], average: bool, padding: bool
) -> Float[Array, "b h w c"]:
  """Pools 3 x 3 cells around each cell.

  Args:
    x: the map.
    average: whether by the mean, else by the maximum.
    padding: whether cells outside of the map count in the mean, as zeros.
  """
  if not average:
    return max_pool(x, 3, 1, 1)
  edges = ((1, 1), (1, 1))
  return nn.avg_pool(x, (3, 3), (1, 1), edges, count_include_pad=padding)


class _Unit(nn.Module):
  """A convolution, BatchNorm and ReLU; the kernel may be a row or a column."""

  norm: functools.partial
  channels: int
  kernel: tuple[int, int]
  stride: int = 1
  padding: Padding = "SAME"

  @nn.compact
  def __call__(self, x, train):
    high, wide = self.kernel
    if high == wide:
      conv = Conv(self.channels, high, self.stride, self.padding, name="conv")
    else:
      conv = _Strip(self.channels, self.kernel, name="conv")
    return nn.relu(self.norm(name="norm")(conv(x), train))


class _Strip(nn.Module):
  """A convolution by a row or a column, which keeps the size of the map."""

  channels: int
  kernel: tuple[int, int]

  @nn.compact
  def __call__(self, x):
    initial = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    shape = (*self.kernel, x.shape[-1], self.channels)
    return lax.conv_general_dilated(
      x,
      self.param("kernel", initial, shape).astype(x.dtype),
      (1, 1),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


class _Block(nn.Module):
  """Branches side by side; their maps are joined.

  Attributes:
    norm: makes a BatchNorm.
    width: channels that differ from block to block.
    average: whether the pooling of the last branch is a mean, else a maximum.
    padding: whether cells outside of the map count in that mean, as zeros.
  """

  norm: functools.partial
  width: int
  average: bool
  padding: bool

  def unit(self, x, train, name, channels, kernel=(1, 1)):
    """A convolution that keeps the size of the map."""
    return _Unit(self.norm, channels, kernel, name=name)(x, train)

  def pooled(self, x, train, channels):
    """The last branch: a pooling, and a convolution."""
    x = pool(x, self.average, self.padding)
    return self.unit(x, train, "branch_pool", channels)

  def halved(self, x, train, name, channels):
    """A convolution by 3 x 3 with stride 2."""
    unit = _Unit(self.norm, channels, (3, 3), 2, "VALID", name=name)
    return unit(x, train)


class _BlockA(_Block):
  """Kernels of 5 x 5, and twice 3 x 3."""

  @nn.compact
  def __call__(self, x, train):
    one = self.unit(x, train, "branch1x1", 64)
    five = self.unit(x, train, "branch5x5_1", 48)
    five = self.unit(five, train, "branch5x5_2", 64, (5, 5))
    twice = self.unit(x, train, "branch3x3dbl_1", 64)
    twice = self.unit(twice, train, "branch3x3dbl_2", 96, (3, 3))
    twice = self.unit(twice, train, "branch3x3dbl_3", 96, (3, 3))
    pooled = self.pooled(x, train, self.width)
    return jnp.concatenate([one, five, twice, pooled], axis=-1)


class _BlockB(_Block):
  """Halves the map."""

  @nn.compact
  def __call__(self, x, train):
    three = self.halved(x, train, "branch3x3", 384)
    twice = self.unit(x, train, "branch3x3dbl_1", 64)
    twice = self.unit(twice, train, "branch3x3dbl_2", 96, (3, 3))
    twice = self.halved(twice, train, "branch3x3dbl_3", 96)
    return jnp.concatenate([three, twice, max_pool(x, 3, 2)], axis=-1)


class _BlockC(_Block):
  """Kernels of 7 x 7, as rows and columns."""

  @nn.compact
  def __call__(self, x, train):
    width, row, column = self.width, (1, 7), (7, 1)
    one = self.unit(x, train, "branch1x1", 192)
    seven = self.unit(x, train, "branch7x7_1", width)
    seven = self.unit(seven, train, "branch7x7_2", width, row)
    seven = self.unit(seven, train, "branch7x7_3", 192, column)
    twice = self.unit(x, train, "branch7x7dbl_1", width)
    twice = self.unit(twice, train, "branch7x7dbl_2", width, column)
    twice = self.unit(twice, train, "branch7x7dbl_3", width, row)
    twice = self.unit(twice, train, "branch7x7dbl_4", width, column)
    twice = self.unit(twice, train, "branch7x7dbl_5", 192, row)
    pooled = self.pooled(x, train, 192)
    return jnp.concatenate([one, seven, twice, pooled], axis=-1)


class _BlockD(_Block):
  """Halves the map, after kernels of 7 x 7 in one branch."""

  @nn.compact
  def __call__(self, x, train):
    three = self.unit(x, train, "branch3x3_1", 192)
    three = self.halved(three, train, "branch3x3_2", 320)
    seven = self.unit(x, train, "branch7x7x3_1", 192)
    seven = self.unit(seven, train, "branch7x7x3_2", 192, (1, 7))
    seven = self.unit(seven, train, "branch7x7x3_3", 192, (7, 1))
    seven = self.halved(seven, train, "branch7x7x3_4", 192)
    return jnp.concatenate([three, seven, max_pool(x, 3, 2)], axis=-1)


class _BlockE(_Block):
  """Rows and columns of three cells side by side."""

  @nn.compact
  def __call__(self, x, train):
    row, column = (1, 3), (3, 1)
    one = self.unit(x, train, "branch1x1", 320)
    three = self.unit(x, train, "branch3x3_1", 384)
    twice = self.unit(x, train, "branch3x3dbl_1", 448)
    twice = self.unit(twice, train, "branch3x3dbl_2", 384, (3, 3))
    maps = [
      one,
      self.unit(three, train, "branch3x3_2a", 384, row),
      self.unit(three, train, "branch3x3_2b", 384, column),
      self.unit(twice, train, "branch3x3dbl_3a", 384, row),
      self.unit(twice, train, "branch3x3dbl_3b", 384, column),
      self.pooled(x, train, 192),
    ]
    return jnp.concatenate(maps, axis=-1)


def _layout(fid: bool) -> Layout:
  """Names of torchvision, which the file of the FID's weights has, too."""

  def arranged(tensors: Tensors) -> Tensors:
    rows = len(tensors.get("fc.weight", ()))
    if rows and (rows == _LOGITS_FID) != fid:
      own, other = NAMES if not fid else NAMES[::-1]
      raise UserError(
        f"the weights have {rows} logits and are not those of {own}, whose"
        f" poolings differ; take the backbone {other}."
      )
    return dict(tensors)

  return Layout(
    "pt_inception-2015-12-05" if fid else "torchvision",
    naming(
      (r"conv_(1a|2a|2b|4a)", r"Conv2d_\1_3x3"),
      ("conv_3b", "Conv2d_3b_1x1"),
      (r"mixed_(\d\w)", r"Mixed_\1"),
      ("norm", "bn"),
    ),
    ("fc.", "AuxLogits."),
    arranged,
  )
