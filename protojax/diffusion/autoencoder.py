"""The autoencoder of latent diffusion: image <-> latent image, frozen.

Rombach et al. (2022), trained with a KL term; sd-vae-ft-mse is one. A latent
image has an eighth of the rows and columns. `autoencoder_file` reads the
weights of a user's file.
"""

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from protojax.diffusion.processes import normal
from protojax.layers.conv import Conv

# Of the logarithm of a latent's variance.
_LOWEST, _HIGHEST = -30.0, 20.0


class Latents(NamedTuple):
  """The distribution of latent images, scaled to a variance of about 1.

  Attributes:
    mean: of each value.
    deviation: of each value.
  """

  mean: Float[Array, "b h w c"]
  deviation: Float[Array, "b h w c"]

  def drawn(self, keys: Key[Array, " b"]) -> Float[Array, "b h w c"]:
    """Latent images, one for each example by its own key."""
    return self.mean + self.deviation * normal(keys, *self.mean.shape[1:])


class Autoencoder(nn.Module):
  """Images in [-1, 1] <-> latents.

  Attributes:
    channels: of the encoder's levels, each of half the side of the one before;
      the decoder has them in reverse.
    blocks: residual blocks of an encoder's level; the decoder has one more.
    latent: channels of a latent image.
    groups: of each GroupNorm.
    scale: latents are multiplied by it.
    dtype: type of computation; parameters, latents and images are float32.
  """

  channels: Sequence[int] = (128, 256, 512, 512)
  blocks: int = 2
  latent: int = 4
  groups: int = 32
  scale: float = 0.18215
  dtype: Any = jnp.float32

  def setup(self):
    """Linen calls it."""
    levels = tuple(self.channels)
    norm = functools.partial(
      nn.GroupNorm,
      self.groups,
      epsilon=1e-6,
      dtype=self.dtype,
      use_fast_variance=False,
    )
    self.encoder = _Encoder(levels, self.blocks, self.latent, norm)
    self.quant = Conv(2 * self.latent, bias=True)
    self.post_quant = Conv(self.latent, bias=True)
    self.decoder = _Decoder(levels[::-1], self.blocks + 1, norm)

  @property
  def stride(self) -> int:
    """Pixels on a side of a cell of the latent image."""
    return 2 ** (len(self.channels) - 1)

  def __call__(
    self, images: Float[Array, "b H W 3"]
  ) -> Float[Array, "b H W 3"]:
    """Images as they come back from the means of their latents."""
    return self.decode(self.encode(images).mean)

  def encode(self, images: Float[Array, "b H W 3"]) -> Latents:
    """The latents of images in [-1, 1], whose sides are multiples of `stride`.

    Raises:
      ValueError: a side is not.
    """
    if images.shape[1] % self.stride or images.shape[2] % self.stride:
      raise ValueError(
        f"images of {images.shape[1]} x {images.shape[2]}; the autoencoder"
        f" needs multiples of {self.stride}"
      )
    x = self.quant(self.encoder(images.astype(self.dtype)))
    mean, log_variance = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    deviation = jnp.exp(jnp.clip(log_variance, _LOWEST, _HIGHEST) / 2)
    return Latents(self.scale * mean, self.scale * deviation)

  def decode(self, latents: Float[Array, "b h w c"]) -> Float[Array, "b H W 3"]:
    """Images about in [-1, 1]."""
    x = (latents / self.scale).astype(self.dtype)
    return self.decoder(self.post_quant(x)).astype(jnp.float32)


class _Encoder(nn.Module):
  """Image -> mean and log variance."""

  channels: Sequence[int]
  blocks: int
  latent: int
  norm: Any

  @nn.compact
  def __call__(self, x):
    x = _conv(self.channels[0], "conv_in")(x)
    for i, channels in enumerate(self.channels):
      last = i == len(self.channels) - 1
      x = _Level(
        channels,
        self.blocks,
        self.norm,
        "" if last else "down",
        name=f"down_{i}",
      )(x)
    x = _Middle(self.norm, name="mid")(x)
    x = nn.silu(self.norm(name="norm_out")(x))
    return _conv(2 * self.latent, "conv_out")(x)


class _Decoder(nn.Module):
  """Latent image -> image."""

  channels: Sequence[int]
  blocks: int
  norm: Any

  @nn.compact
  def __call__(self, x):
    x = _conv(self.channels[0], "conv_in")(x)
    x = _Middle(self.norm, name="mid")(x)
    for i, channels in enumerate(self.channels):
      last = i == len(self.channels) - 1
      x = _Level(
        channels, self.blocks, self.norm, "" if last else "up", name=f"up_{i}"
      )(x)
    x = nn.silu(self.norm(name="norm_out")(x))
    return _conv(3, "conv_out")(x)


class _Level(nn.Module):
  """Residual blocks, and then half or twice the side."""

  channels: int
  blocks: int
  norm: Any
  then: str

  @nn.compact
  def __call__(self, x):
    for j in range(self.blocks):
      x = _Residual(self.channels, self.norm, name=f"resnet_{j}")(x)
    if self.then == "down":
      # Padded after the last row and column alone, as the weights learned it.
      return _conv(self.channels, "downsample", stride=2, padding=(0, 1))(x)
    if self.then == "up":
      x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
      return _conv(self.channels, "upsample")(x)
    return x


class _Middle(nn.Module):
  """A residual block, attention of all cells, a residual block."""

  norm: Any

  @nn.compact
  def __call__(self, x):
    channels = x.shape[-1]
    x = _Residual(channels, self.norm, name="resnet_0")(x)
    x = _CellAttention(self.norm, name="attention")(x)
    return _Residual(channels, self.norm, name="resnet_1")(x)


class _Residual(nn.Module):
  """Two convolutions, each after a norm and SiLU, added to the input."""

  channels: int
  norm: Any

  @nn.compact
  def __call__(self, x):
    y = _conv(self.channels, "conv1")(nn.silu(self.norm(name="norm1")(x)))
    y = _conv(self.channels, "conv2")(nn.silu(self.norm(name="norm2")(y)))
    if x.shape[-1] != self.channels:
      x = Conv(self.channels, bias=True, name="shortcut")(x)
    return x + y


class _CellAttention(nn.Module):
  """Attention with one head, added to the input."""

  norm: Any

  @nn.compact
  def __call__(self, x):
    batch, h, w, channels = x.shape
    cells = self.norm(name="norm")(x).reshape(batch, h * w, channels)
    query, key, value = (
      nn.Dense(channels, dtype=x.dtype, name=name)(cells)[:, :, None]
      for name in ("query", "key", "value")
    )
    y = jax.nn.dot_product_attention(query, key, value)[:, :, 0]
    return x + nn.Dense(channels, dtype=x.dtype, name="out")(y).reshape(x.shape)


def _conv(channels, name, stride=1, padding=(1, 1)):
  return Conv(channels, 3, stride, padding, bias=True, name=name)
