"""The layers of a concept model: features -> concepts -> vectors -> directions.

In the order of the forward path (CSR, section 3): the concept head finds where
each concept is. The features there are averaged to one vector for each concept.
The projector maps vectors and single cells to the space of the prototypes.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.prototypes import distance
from protojax.types import ArrayLike


class ConceptHead(nn.Module):
  """Features -> a map for each concept, by a 1x1 convolution without bias.

  Attributes:
    concepts: number of concepts.
  """

  concepts: int

  @nn.compact
  def __call__(
    self, features: Float[ArrayLike, "b h w d"]
  ) -> Float[jax.Array, "b h w c"]:
    """The maps; their means over the cells are the concepts' logits."""
    return nn.Dense(self.concepts, use_bias=False)(features)


class Projector(nn.Module):
  """Maps vectors to directions in the space of the prototypes.

  A layer to the new width, then residual blocks of [layer, norm, ReLU]. The
  norm is LayerNorm, not the paper's half BatchNorm: the projector is trained on
  pooled vectors and used on single cells, whose statistics differ.

  Attributes:
    channels: of the prototypes.
    blocks: number of residual blocks.
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
  """A vector for each concept: the mean feature, weighted by its map (eq. 2).

  v_k = sum over the cells of softmax(map_k) features.
  """
  b, _, _, c = maps.shape
  share = jax.nn.softmax(jnp.reshape(maps, (b, -1, c)), axis=1)
  cells = jnp.reshape(features, (b, -1, features.shape[-1]))
  return jnp.einsum("bnc,bnd->bcd", share, cells, precision=distance.PRECISION)
