"""The block of vision and text transformers: attention and MLP on tokens."""

from collections.abc import Callable

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Block(nn.Module):
  """Attention and MLP; each follows a norm and is added to its input.

  Attributes:
    heads: of attention.
    layer_scale: whether attention and MLP are scaled by channel before they are
      added.
    quick_gelu: GELU as x sigmoid(1.702 x), as in CLIP.
    norm: (tokens, name) -> tokens.
    causal: whether a token sees only itself and those before it.
  """

  heads: int
  layer_scale: bool
  quick_gelu: bool
  norm: Callable[..., Array]
  causal: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b l d"],
    train: bool = False,
    valid: Bool[Array, "b l"] | None = None,
  ) -> Float[Array, "b l d"]:
    """`train` changes nothing; nobody sees a token that is not valid."""
    y = self._attention(self.norm(x, "norm_1"), valid)
    x = x + self._scaled(y, "gamma_1")
    return x + self._scaled(self._mlp(self.norm(x, "norm_2")), "gamma_2")

  def _attention(self, x, valid):
    batch, count, channels = x.shape
    qkv = nn.Dense(3 * channels, dtype=x.dtype, name="qkv")(x)
    shape = (batch, count, 3, self.heads, channels // self.heads)
    query, key, value = jnp.moveaxis(qkv.reshape(shape), 2, 0)
    mask = None if valid is None else valid[:, None, None]
    y = jax.nn.dot_product_attention(
      query, key, value, mask=mask, is_causal=self.causal
    )
    return nn.Dense(channels, dtype=x.dtype, name="out")(y.reshape(x.shape))

  def _mlp(self, x):
    y = nn.Dense(4 * x.shape[-1], dtype=x.dtype, name="expand")(x)
    if self.quick_gelu:
      y = y * nn.sigmoid(1.702 * y)
    else:
      y = nn.gelu(y, approximate=False)
    return nn.Dense(x.shape[-1], dtype=x.dtype, name="project")(y)

  def _scaled(self, x, name):
    if not self.layer_scale:
      return x
    ones = nn.initializers.ones
    return x * self.param(name, ones, x.shape[-1:]).astype(x.dtype)[None, None]
