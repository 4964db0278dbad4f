"""How queries read the memory: PEM's picking of tokens, and its rivals.

PEM-CA (Cavagnero et al., CVPR 2024): each head takes one token, the prototype,
and mixes it with the query, channel by channel. Its rivals are Mask2Former's
masked cross-attention, and a random token in place of the most similar one.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm, layer_norm
from protojax.methods.pem import selection
from protojax.methods.pem.selection import Picked, Read
from protojax.types import Array

# How a query reads the memory.
KINDS = ("pem", "masked", "random")
# PyTorch's start of linear layers and convolutions: 1 / sqrt(inputs) at most.
TORCH = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
XAVIER = nn.initializers.xavier_uniform()
# Of a matrix that makes query, key and value in one.
XAVIER_QKV = nn.initializers.variance_scaling(0.5, "fan_avg", "uniform")
_EPSILON = 1e-12


def linear(channels: int, name: str, start: Any = TORCH) -> nn.Dense:
  """A linear layer that starts as PyTorch's, but for its bias of zero."""
  return nn.Dense(channels, kernel_init=start, name=name)


def unit(x: Float[Array, "b q c"], axis: int = -1) -> Float[Array, "b q c"]:
  """x over its length along an axis, as PyTorch's `normalize`."""
  squares = jnp.sum(x**2, axis=axis, keepdims=True)
  # The gradient of a root is infinite at 0.
  length = jnp.sqrt(jnp.maximum(squares, _EPSILON**2))
  return x / length


class Keys(nn.Module):
  """Memory and its places -> unit vectors of the tokens (PEM-CA's K)."""

  @nn.compact
  def __call__(
    self, memory: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b n c"]:
    """One vector for each cell, row by row."""
    b, h, w, c = memory.shape
    x = BatchNorm(name="norm")(memory, train)
    x = Conv(None, 3, bias=True, start=TORCH, name="local")(x)
    return unit(linear(c, "out")(x.reshape(b, h * w, c)))


class Picking(nn.Module):
  """PEM-CA.

  Attributes:
    heads: the channels are divided among them.
    across: the axis of the norm within: over the queries (1), as in the
      authors' code, or over the channels (2).
    random: a random token is taken, not the most similar one.
    chunk: tokens that are compared at a time.
  """

  heads: int
  across: int = 1
  random: bool = False
  chunk: int = selection.CHUNK

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b q c"],
    places: Float[Array, "q c"],
    memory: Float[Array, "b h w c"],
    where: Float[Array, "h w c"],
    barred: Bool[Array, "b q n"],
    train: bool,
    key: Array,
  ) -> tuple[Float[Array, "b q c"], Read]:
    """The queries after they have read the memory, and what they picked."""
    channels = x.shape[-1]
    keys = Keys(name="keys")(memory + where[None], train)
    asked = layer_norm(x + places[None], "norm", 1e-5)
    asked = unit(linear(channels, "query")(asked))
    noise = key if self.random else None
    found = selection.picked(keys, asked, self.heads, barred, self.chunk, noise)
    prototype = selection.taken(keys, found.token, self.heads)
    alpha = self.param("alpha", nn.initializers.ones, (channels,))
    mixed = unit(linear(channels, "mix")(prototype * asked), self.across)
    out = mixed * alpha[None, None] + prototype
    return x + linear(channels, "out")(out), Read(found, asked, keys)


class Masked(nn.Module):
  """Masked cross-attention, as in Mask2Former (Cheng et al., CVPR 2022).

  Attributes:
    heads: the channels are divided among them.
  """

  heads: int

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b q c"],
    places: Float[Array, "q c"],
    memory: Float[Array, "b h w c"],
    where: Float[Array, "h w c"],
    barred: Bool[Array, "b q n"],
    train: bool,
    key: Array,
  ) -> tuple[Float[Array, "b q c"], Read]:
    """The queries after they have read the memory, and each head's best token.

    The "similarity" of a token is its weight.
    """
    del train, key
    b, h, w, c = memory.shape
    asked = layer_norm(x, "norm", 1e-5) + places[None]
    placed = (memory + where[None]).reshape(b, h * w, c)
    query, keys, values = (
      linear(c, name, XAVIER_QKV)(y).reshape(b, -1, self.heads, c // self.heads)
      for name, y in (
        ("query", asked),
        ("key", placed),
        ("value", memory.reshape(b, h * w, c)),
      )
    )
    logits = jnp.einsum("bqac,bnac->bqan", query, keys)
    logits = logits * query.shape[-1] ** -0.5
    logits = jnp.where(barred[:, :, None], -jnp.inf, logits)
    weights = jax.nn.softmax(logits, axis=-1)
    read = jnp.einsum("bqan,bnac->bqac", weights, values).reshape(x.shape)
    best = Picked(
      jnp.argmax(weights, axis=-1).astype(jnp.int32), jnp.max(weights, axis=-1)
    )
    joined = (y.reshape(b, -1, c) for y in (query, keys))
    return x + linear(c, "out")(read), Read(best, *joined)


class Among(nn.Module):
  """Self-attention of the queries, with their places in query and key.

  Attributes:
    heads: the channels are divided among them.
  """

  heads: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "b q c"], places: Float[Array, "q c"]
  ) -> Float[Array, "b q c"]:
    """The queries after they have read one another."""
    b, count, c = x.shape
    normed = layer_norm(x, "norm", 1e-5)
    placed = normed + places[None]
    made = (("query", placed), ("key", placed), ("value", normed))
    query, key, value = (
      linear(c, name, XAVIER_QKV)(y).reshape(
        b, count, self.heads, c // self.heads
      )
      for name, y in made
    )
    read = jax.nn.dot_product_attention(query, key, value)
    return x + linear(c, "out", XAVIER)(read.reshape(x.shape))


class FeedForward(nn.Module):
  """Two layers on each query.

  Attributes:
    width: of the layer between.
  """

  width: int

  @nn.compact
  def __call__(self, x: Float[Array, "b q c"]) -> Float[Array, "b q c"]:
    """The queries, and what the layers add."""
    y = layer_norm(x, "norm", 1e-5)
    y = nn.relu(linear(self.width, "expand", XAVIER)(y))
    return x + linear(x.shape[-1], "project", XAVIER)(y)
