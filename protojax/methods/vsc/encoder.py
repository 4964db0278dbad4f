"""What sees the references: image -> vector, and text -> vector beside it.

As CLIP's towers, but small: images and captions that belong together are near.
The layers below the last two are frozen once that is learned, so that what they
make of the references is kept.
"""

import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from protojax.diffusion.pixels import signed
from protojax.layers.conv import Conv
from protojax.layers.norm import layer_norm
from protojax.types import ArrayLike

_norm = functools.partial(layer_norm, epsilon=1e-5)


class Lower(nn.Module):
  """Image -> map of a quarter of its side, with twice the channels.

  Attributes:
    channels: of the first of two convolutions.
  """

  channels: int

  @nn.compact
  def __call__(
    self, images: Num[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b h w c"]:
    """Of images with pixels 0 to 255."""
    x: Any = signed(images)
    for i in range(2):
      x = Conv(self.channels * 2**i, 3, 2, bias=True, name=f"conv_{i}")(x)
      x = nn.gelu(_norm(x, f"norm_{i}"))
    return x


class Upper(nn.Module):
  """Map -> vector of the image, v; these layers go on learning.

  Attributes:
    channels: of the vector.
  """

  channels: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b v"]:
    """A convolution, the mean over places, and a linear layer."""
    x = Conv(2 * x.shape[-1], 3, 2, bias=True, name="conv")(x)
    x = jnp.mean(nn.gelu(_norm(x, "norm")), axis=(1, 2))
    return _norm(nn.Dense(self.channels, name="out")(x), "norm_out")


class Sentence(nn.Module):
  """States of words -> vector of the text; used to train the others alone.

  Attributes:
    channels: of the vector.
  """

  channels: int

  @nn.compact
  def __call__(
    self, tokens: Float[Array, "b l c"], valid: Bool[Array, "b l"]
  ) -> Float[Array, "b v"]:
    """The mean of the words through two layers."""
    weight = valid.astype(tokens.dtype)[..., None]
    mean = jnp.sum(tokens * weight, axis=1) / jnp.sum(weight, axis=1)
    x = nn.gelu(nn.Dense(2 * self.channels, name="expand")(mean))
    return nn.Dense(self.channels, name="out")(x)


def unit(x: Float[Array, "... v"]) -> Float[Array, "... v"]:
  """Vectors of length 1."""
  return x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-8)


def contrast(
  images: Float[Array, "b v"], texts: Float[Array, "b v"], temperature: float
) -> Float[Array, ""]:
  """The loss of CLIP (Radford et al., 2021): who belongs to whom, both ways."""
  logits = unit(images) @ unit(texts).T / temperature
  own = jnp.diagonal(logits)
  total = sum(jax.nn.logsumexp(logits, axis=k) - own for k in (0, 1))
  return jnp.mean(total) / 2


def prototype(
  vectors: Float[Array, "... m v"], weights: Float[Array, "... m"]
) -> Float[Array, "... v"]:
  """e_j: the mean of phi over a pair's references that count.

  Args:
    vectors: phi of each reference.
    weights: of each; they sum to 1.
  """
  return jnp.sum(vectors * weights[..., None], axis=-2)


def best(scores: Float[Array, "... m"], keep: int) -> Float[Array, "... m"]:
  """Weights of references: alike of the `keep` best ones, else 0.

  Args:
    scores: of each reference.
    keep: how many count.
  """
  order = jnp.argsort(-scores, axis=-1)
  place = jnp.argsort(order, axis=-1)
  return jnp.where(place < keep, 1.0 / keep, 0.0)
