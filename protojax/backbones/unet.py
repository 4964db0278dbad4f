"""U-Nets to train from scratch: image -> features at the image's own size.

Ronneberger et al. (MICCAI 2015), with padded convolutions and a norm after
each. An encoder halves the map from level to level; a decoder doubles it and
puts the encoder's map of the same size beside it. `made` builds one of any
width and number of levels; four have names. "unet_small" has GroupNorm, which
knows no batch and so has the same answer for images of two scanners side by
side; the others have BatchNorm.
"""

from collections.abc import Sequence
from typing import Any, Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.backbones.backbone import Backbone, Layer, Level, recomputed
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm
from protojax.layers.pool import max_pool

Norm = Literal["batch", "group"]

# Name -> (channels of each level, norm, levels that the decoder leaves out).
_NETS: dict[str, tuple[tuple[int, ...], Norm, int]] = {
  "unet": ((64, 128, 256, 512, 1024), "batch", 0),
  "unet_small": ((16, 32, 64, 128), "group", 0),
  # Its map has a cell for 4 x 4 pixels.
  "unet_stride4": ((32, 64, 128, 256, 512), "batch", 2),
  # The same for images of 64 pixels.
  "unet_small_stride4": ((8, 16, 32, 64), "batch", 2),
}
NAMES = tuple(_NETS)

_GROUP = 8  # channels of a group, at most


def load(name: str) -> Backbone:
  """One of the networks, without pretrained weights."""
  return made(*_NETS[name])


def made(
  widths: Sequence[int], norm: Norm = "group", coarser: int = 0
) -> Backbone:
  """A U-Net of any size, without pretrained weights.

  Args:
    widths: channels of the levels, from the image's own size to the smallest
      map.
    norm: after each convolution.
    coarser: levels that the decoder does not go up to; the map's cells are
      2^coarser pixels on a side.

  Raises:
    ValueError: there are fewer levels than that.
  """
  last = len(widths) - 1
  if not 0 <= coarser <= last:
    raise ValueError(f"coarser={coarser} of a U-Net with {len(widths)} levels")
  convolutions = [Layer(3)] * 2
  layers = [*convolutions, *([Layer(2, 2), *convolutions] * last)]
  for _ in range(last - coarser):
    layers += [Layer(2, upsampled=2), *convolutions]
  return Backbone(
    module=UNet(tuple(widths), norm, coarser),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    stride=2**coarser,
    layers=tuple(layers),
    channels=widths[coarser],
    levels=tuple(
      Level(f"up_{i}", 2**i, widths[i]) for i in range(last, coarser - 1, -1)
    ),
  )


class UNet(nn.Module):
  """Normalised images -> features.

  The map of the encoder's last level is "up_N", from which the decoder starts.

  Attributes:
    widths: channels of each level.
    norm: after each convolution.
    coarser: levels that the decoder does not go up to.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes levels again.
    synchronised: whether BatchNorm averages over devices in training.
  """

  widths: tuple[int, ...]
  norm: Norm = "group"
  coarser: int = 0
  dtype: Any = jnp.float32
  remat: bool = False
  synchronised: bool = True

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W c"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    block = recomputed(_Level, self.remat)
    settings = {"norm": self.norm, "synchronised": self.synchronised}
    x, seen = images.astype(self.dtype), []
    for i, width in enumerate(self.widths):
      if i:
        x = max_pool(x, 2, 2)
      x = block(width, **settings, name=f"down_{i}")(x, train)
      seen.append(x)
    last = len(self.widths) - 1
    self.sow("intermediates", f"up_{last}", x.astype(jnp.float32))
    for i in range(last - 1, self.coarser - 1, -1):
      x = jnp.concatenate([seen[i], doubled(x, seen[i].shape)], axis=-1)
      x = block(self.widths[i], **settings, name=f"join_{i}")(x, train)
      self.sow("intermediates", f"up_{i}", x.astype(jnp.float32))
    return x.astype(jnp.float32)


def doubled(
  x: Float[Array, "b h w d"], shape: Sequence[int]
) -> Float[Array, "b h2 w2 d"]:
  """The map at twice its size, or a cell more, bilinear.

  Args:
    x: of half of the sides, rounded down.
    shape: [b, h2, w2, ...] that it comes to.
  """
  return jax.image.resize(x, (*shape[:3], x.shape[-1]), "linear")


class _Level(nn.Module):
  """Two convolutions, each with a norm and ReLU."""

  width: int
  norm: Norm
  synchronised: bool

  @nn.compact
  def __call__(self, x, train):
    for i in (1, 2):
      x = Conv(self.width, 3, name=f"conv_{i}")(x)
      if self.norm == "batch":
        norm = BatchNorm(synchronised=self.synchronised, name=f"norm_{i}")
        x = norm(x, train)
      else:
        groups = max(self.width // _GROUP, 1)
        x = nn.GroupNorm(groups, dtype=x.dtype, name=f"norm_{i}")(x)
      x = nn.relu(x)
    return x
