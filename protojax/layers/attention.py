"""Attention of tokens to one another, or to the words of a text.

What it looked at is kept on request alone: `apply(..., mutable=["keys",
"attention"])` gives the keys and the weights back as variables of these
collections, by `sow`. A program that does not ask for them has neither.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from protojax.layers.norm import layer_norm

_XAVIER = nn.initializers.xavier_uniform()


class Attention(nn.Module):
  """Attention by several heads, Vaswani et al. (2017).

  Attributes:
    heads: number of heads.
    qk_norm: whether queries and keys are normalised by head (LayerNorm).
    zero: whether the output starts at zero.
    others: whether tokens look at given ones in place of one another.
    bias: whether queries, keys and values have one; the output has.
    kept: collections for the keys, [b m d] with the heads side by side, and for
      the weights, [b l m], mean over the heads.
    dtype: type of computation; parameters are float32.
  """

  heads: int
  qk_norm: bool = False
  zero: bool = False
  others: bool = False
  bias: bool = True
  kept: tuple[str, str] = ("keys", "attention")
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b l d"],
    others: Float[Array, "b m c"] | None = None,
    valid: Bool[Array, "b m"] | None = None,
  ) -> Float[Array, "b l d"]:
    """What each token takes from those it looks at.

    Args:
      x: tokens; the channels must divide by the heads.
      others: tokens to look at, if `Attention.others`.
      valid: False for tokens not to look at; at least one is True.

    Raises:
      ValueError: the heads do not divide the channels.
    """
    channels = x.shape[-1]
    if channels % self.heads:
      raise ValueError(
        f"{channels} channels do not divide over {self.heads} heads"
      )
    query, key, value = self._projected(x, others)
    if self.qk_norm:
      query = layer_norm(query, "query_norm", 1e-5)
      key = layer_norm(key, "key_norm", 1e-5)
    self._keep(self.kept[0], lambda: key.reshape(*key.shape[:2], -1))
    mask = None if valid is None else valid[:, None, None]
    if self._asked(self.kept[1]):
      weights = _weights(query, key, mask)
      self._keep(self.kept[1], lambda: jnp.mean(weights, axis=1))
      y = jnp.einsum("bhlm,bmhc->blhc", weights.astype(value.dtype), value)
    else:
      y = jax.nn.dot_product_attention(query, key, value, mask=mask)
    start = nn.initializers.zeros if self.zero else _XAVIER
    return self._dense(channels, "out", start)(y.reshape(x.shape))

  def _projected(self, x, others):
    """Query, key and value, each [b l heads c]."""
    channels = x.shape[-1]
    if not self.others:
      qkv = self._dense(3 * channels, "qkv", bias=self.bias)(x)
      return self._by_head(qkv, 3)
    query = self._dense(channels, "query", bias=self.bias)(x)
    key_value = self._dense(2 * channels, "key_value", bias=self.bias)(others)
    return *self._by_head(query, 1), *self._by_head(key_value, 2)

  def _by_head(self, x, parts):
    batch, count, width = x.shape
    shape = (batch, count, parts, self.heads, width // parts // self.heads)
    return tuple(jnp.moveaxis(x.reshape(shape), 2, 0))

  def _dense(self, channels, name, start=_XAVIER, bias=True):
    return nn.Dense(
      channels, bias, dtype=self.dtype, kernel_init=start, name=name
    )

  def _asked(self, collection):
    return not self.is_initializing() and self.is_mutable_collection(collection)

  def _keep(self, collection, made):
    if self._asked(collection):
      self.sow(collection, "kept", made().astype(jnp.float32))


def _weights(query, key, mask):
  """Softmax over the tokens that are looked at, [b heads l m], float32."""
  logits = jnp.einsum(
    "blhc,bmhc->bhlm", query, key, preferred_element_type=jnp.float32
  )
  logits = logits * query.shape[-1] ** -0.5
  if mask is not None:
    logits = jnp.where(mask, logits, -jnp.inf)
  return jax.nn.softmax(logits, axis=-1)
