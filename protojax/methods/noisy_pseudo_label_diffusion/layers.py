"""The layers: maps of a backbone -> features; features and noisy labels -> h.

After the formulation of DDP (Ji et al., 2023, 2303.17559); the sizes are ours.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.layers.conv import Conv
from protojax.layers.norm import layer_norm

# log-SNR goes from 16 to -13: of this order, a frequency turns a few times.
_SLOW = 0.1
_FREQUENCIES = 16


class Neck(nn.Module):
  """Levels of a backbone, the coarser ones brought to the finest and added.

  Attributes:
    channels: d.
  """

  channels: int

  @nn.compact
  def __call__(
    self, maps: Sequence[Float[Array, "b _ _ _"]]
  ) -> Float[Array, "b h w d"]:
    """The features, of the finest level's size; that comes first."""
    own = [
      Conv(self.channels, bias=True, name=f"lateral_{i}")(x)
      for i, x in enumerate(maps)
    ]
    x = own[-1]
    for y in reversed(own[:-1]):
      x = y + jax.image.resize(x, y.shape, "linear")
    x = Conv(self.channels, 3, bias=True, name="smooth")(nn.relu(x))
    return layer_norm(x, "norm")


class Denoiser(nn.Module):
  """Features and noisy label latents -> denoised latents h of each cell.

  Attributes:
    channels: d, of everything.
    blocks: residual blocks.
    kernel: side of their depthwise convolutions, in cells.
    noisy: whether it reads label latents and times; without, it is a plain
      head of the same depth.
  """

  channels: int
  blocks: int
  kernel: int
  noisy: bool

  @nn.compact
  def __call__(
    self,
    features: Float[Array, "b h w d"],
    z: Float[Array, "b h w d"],
    log_snr: Float[Array, " b"],
  ) -> Float[Array, "b h w d"]:
    """Latents z, and the log-SNR of each example's time."""
    x, time = features, None
    if self.noisy:
      x = jnp.concatenate([x, z], axis=-1)
      time = self._time(log_snr)
    x = Conv(self.channels, bias=True, name="joined")(x)
    for i in range(self.blocks):
      block = Block(self.channels, self.kernel, name=f"block_{i}")
      x = block(x, time)
    return layer_norm(x, "norm")

  def _time(self, log_snr: Array) -> Float[Array, "b e"]:
    """Learned Fourier features of a time, and two layers."""
    frequencies = self.param(
      "frequencies", nn.initializers.normal(_SLOW), (_FREQUENCIES,)
    )
    raw = log_snr[:, None]
    angle = 2 * jnp.pi * raw * frequencies[None]
    x = jnp.concatenate([_SLOW * raw, jnp.sin(angle), jnp.cos(angle)], axis=1)
    x = nn.gelu(nn.Dense(4 * self.channels, name="time_0")(x))
    return nn.gelu(nn.Dense(4 * self.channels, name="time_1")(x))


class Block(nn.Module):
  """A depthwise convolution, scaled and shifted by the time, and two layers.

  Attributes:
    channels: d.
    kernel: side of the convolution.
  """

  channels: int
  kernel: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w d"], time: Float[Array, "b e"] | None
  ) -> Float[Array, "b h w d"]:
    """x plus what is learned; None without times."""
    y = Conv(None, self.kernel, bias=True, name="mixed")(x)
    y = layer_norm(y, "norm")
    if time is not None:
      both = nn.Dense(2 * self.channels, name="time")(time)
      scale, shift = jnp.split(both[:, None, None], 2, axis=-1)
      y = y * (1 + scale) + shift
    y = nn.gelu(Conv(2 * self.channels, bias=True, name="wide")(y))
    return x + Conv(self.channels, bias=True, name="narrow")(y)


class Readouts(nn.Module):
  """h -> logits, and h -> the unit vectors that prototypes are compared with.

  Attributes:
    channels: d.
    classes: k.
  """

  channels: int
  classes: int

  def setup(self) -> None:
    """A linear layer; a projection of two layers."""
    xavier = nn.initializers.xavier_uniform()
    self.linear = nn.Dense(self.classes, kernel_init=xavier)
    self.first, self.second = nn.Dense(self.channels), nn.Dense(self.channels)

  def __call__(
    self, h: Float[Array, "b h w d"]
  ) -> tuple[Float[Array, "b h w k"], Float[Array, "b h w d"]]:
    """Logits and unit vectors of each cell, in float32."""
    h = h.astype(jnp.float32)
    x = self.second(nn.relu(self.first(h)))
    squares = jnp.sum(x * x, axis=-1, keepdims=True)
    return self.linear(h), x * jax.lax.rsqrt(squares + 1e-12)
