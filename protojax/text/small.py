"""A small text tower that is trained with what reads it."""

import functools

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from protojax.layers.norm import layer_norm
from protojax.layers.transformer import Block


class SmallTower(nn.Module):
  """Learned tokens and places, and blocks of attention.

  Attributes:
    words: tokens that there are.
    length: the most tokens of a text.
    channels: of a token.
    blocks: of attention; each token sees all that are no padding.
    heads: of attention.
  """

  words: int
  length: int
  channels: int
  blocks: int = 2
  heads: int = 4

  @nn.compact
  def __call__(
    self, ids: Int[Array, "b l"], valid: Bool[Array, "b l"]
  ) -> Float[Array, "b l c"]:
    """The state of each token; that of padding means nothing."""
    normal = nn.initializers.normal(0.02)
    table = nn.Embed(
      self.words, self.channels, embedding_init=normal, name="tokens"
    )
    places = self.param("places", normal, (self.length, self.channels))
    x = table(ids) + places[None, : ids.shape[1]]
    norm = functools.partial(layer_norm, epsilon=1e-5)
    for i in range(self.blocks):
      block = Block(self.heads, False, False, norm, name=f"block_{i}")
      x = block(x, valid=valid)
    return jnp.where(valid[..., None], norm(x, "norm"), 0.0)
