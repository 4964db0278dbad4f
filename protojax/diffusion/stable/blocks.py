"""What the U-Net of latent diffusion is made of (Rombach et al., 2022).

Residual blocks that know the time, and transformers whose tokens, the cells of
a map, look at one another and at the words of a text.
"""

from typing import Any

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.layers.attention import Attention
from protojax.layers.conv import Conv
from protojax.layers.norm import layer_norm

_TRANSFORMER_EPSILON = 1e-6
_TOKEN_EPSILON = 1e-5


class Residual(nn.Module):
  """Two convolutions, each after a norm and SiLU, added to the input.

  Attributes:
    channels: of the output.
    groups: of each GroupNorm.
    epsilon: of each GroupNorm.
  """

  channels: int
  groups: int
  epsilon: float

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], time: Float[Array, "b e"]
  ) -> Float[Array, "b h w d"]:
    """`time` is the vector of each example's time."""
    y = nn.silu(group_norm(x, "norm1", self.groups, self.epsilon))
    y = conv(self.channels, "conv1")(y)
    shift = nn.Dense(self.channels, dtype=x.dtype, name="time")(nn.silu(time))
    y = y + shift[:, None, None]
    y = nn.silu(group_norm(y, "norm2", self.groups, self.epsilon))
    y = conv(self.channels, "conv2")(y)
    if x.shape[-1] != self.channels:
      x = Conv(self.channels, bias=True, name="shortcut")(x)
    return x + y


class Transformer(nn.Module):
  """A transformer block on the cells of a map, added to the map.

  Attributes:
    heads: of attention.
    groups: of the GroupNorm.
  """

  heads: int
  groups: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], text: Float[Array, "b l e"]
  ) -> Float[Array, "b h w c"]:
    """`text` are the states of the words, all of which are looked at."""
    batch, h, w, channels = x.shape
    y = group_norm(x, "norm", self.groups, _TRANSFORMER_EPSILON)
    # Of some files a convolution of one cell, which is the same.
    y = _dense(channels, "proj_in", x)(y.reshape(batch, h * w, channels))
    y = _Block(self.heads, name="block")(y, text)
    return x + _dense(channels, "proj_out", x)(y).reshape(x.shape)


class _Block(nn.Module):
  """Attention to one another, attention to the text, and a gated MLP."""

  heads: int

  @nn.compact
  def __call__(self, x, text):
    attend = Attention(
      self.heads, bias=False, dtype=x.dtype, name="self_attention"
    )
    read = Attention(
      self.heads,
      bias=False,
      others=True,
      kept=("text_keys", "text_attention"),
      dtype=x.dtype,
      name="text_attention",
    )
    x = x + attend(layer_norm(x, "norm1", _TOKEN_EPSILON))
    x = x + read(layer_norm(x, "norm2", _TOKEN_EPSILON), text)
    y = layer_norm(x, "norm3", _TOKEN_EPSILON)
    # GEGLU (Shazeer, 2020).
    y, gate = jnp.split(_dense(8 * x.shape[-1], "expand", x)(y), 2, axis=-1)
    y = y * nn.gelu(gate, approximate=False)
    return x + _dense(x.shape[-1], "project", x)(y)


def group_norm(
  x: Float[Array, "b h w c"], name: str, groups: int, epsilon: float
) -> Float[Array, "b h w c"]:
  """Flax's GroupNorm, float32 inside; to be called in a compact module."""
  norm = nn.GroupNorm(
    groups, epsilon=epsilon, dtype=x.dtype, use_fast_variance=False, name=name
  )
  return norm(x)


def conv(channels: int, name: str, stride: int = 1) -> Conv:
  """A convolution of 3 x 3 cells, with a bias."""
  return Conv(channels, 3, stride, (1, 1), bias=True, name=name)


def _dense(channels: int, name: str, like: Any) -> nn.Dense:
  return nn.Dense(channels, dtype=like.dtype, name=name)
