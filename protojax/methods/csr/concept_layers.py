"""The parts of a concept model: features -> concepts -> vectors -> likeness.

In the order of the forward path (CSR, section 3): a concept head says where in
the features a concept is, the features there make one vector a concept, and a
projector takes vectors and single cells to where prototypes are compared.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.prototypes import distance
from protojax.types import ArrayLike


class ConceptHead(nn.Module):
  """Features -> one map a concept, by a 1x1 convolution without a bias.

  Attributes:
    concepts: how many.
  """

  concepts: int

  @nn.compact
  def __call__(
    self, features: Float[ArrayLike, "b h w d"]
  ) -> Float[jax.Array, "b h w c"]:
    """The maps; their means over the cells are the concepts' logits."""
    return nn.Dense(self.concepts, use_bias=False)(features)


class Projector(nn.Module):
  """Vectors to the prototypes' space: residual blocks, then length one.

  A layer to the new width and three blocks of [layer, norm, ReLU], each added
  to what it got. The norm is LayerNorm, not the paper's half BatchNorm: it is
  trained on pooled vectors and used on single cells, whose statistics differ.

  Attributes:
    channels: of the prototypes.
    blocks: how many.
  """

  channels: int
  blocks: int = 3

  @nn.compact
  def __call__(
    self, vectors: Float[ArrayLike, "*n e"]
  ) -> Float[jax.Array, "*n d"]:
    """Directions in float32."""
    x = nn.Dense(self.channels)(jnp.asarray(vectors, jnp.float32))
    for _ in range(self.blocks):
      x = x + nn.relu(nn.LayerNorm()(nn.Dense(self.channels)(x)))
    return distance.direction(x)


def local_vectors(
  features: Float[ArrayLike, "b h w d"], maps: Float[ArrayLike, "b h w c"]
) -> Float[jax.Array, "b c d"]:
  """One vector a concept: features where its map is high (eq. 2).

  v_k = sum over the cells of softmax(map_k) features.
  """
  b, _, _, c = maps.shape
  share = jax.nn.softmax(jnp.reshape(maps, (b, -1, c)), axis=1)
  cells = jnp.reshape(features, (b, -1, features.shape[-1]))
  return jnp.einsum("bnc,bnd->bcd", share, cells, precision=distance.PRECISION)
