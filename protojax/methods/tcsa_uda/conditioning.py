"""Text conditioning: the words of the classes make a convolution of an image.

As in the authors' code, and off by default. Two things of it are weak, and are
as there: attention looks at a single key, so that all classes get the same
vector from it; and the convolution is made from the mean over the classes.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.types import Array

_WIDTH, _HEADS, _GROUPS = 256, 3, 8
CHANNELS = 128  # of what comes out
_INNER = 512


class Conditioning(nn.Module):
  """Embedding, features and words -> another embedding, of 128 channels."""

  @nn.compact
  def __call__(
    self,
    embedding: Float[Array, "b h w d"],
    features: Float[Array, "b h w c"],
    words: Float[Array, "k t"],
  ) -> Float[Array, "b h w 128"]:
    """A 1 x 1 convolution of the embedding, another one for each image."""
    d, classes = embedding.shape[-1], len(words)
    x = nn.GroupNorm(min(_GROUPS, features.shape[-1]), name="norm")(features)
    x = nn.Dense(_WIDTH, name="image")(jnp.mean(nn.relu(x), axis=(1, 2)))
    e = nn.relu(nn.Dense(_WIDTH, name="words")(words))
    shape = len(x), classes, _WIDTH
    both = jnp.concatenate(
      [jnp.broadcast_to(e[None], shape), jnp.broadcast_to(x[:, None], shape)],
      axis=-1,
    )
    queries = nn.relu(nn.Dense(_WIDTH, name="queries")(both))
    q, k, v = (
      nn.relu(nn.Dense(_HEADS * _WIDTH, name=name)(given))
      for name, given in (
        ("query", queries),
        ("key", x[:, None]),
        ("value", x[:, None]),
      )
    )
    found = attended(*(_by_head(a) for a in (q, k, v)))
    found = nn.relu(nn.Dense(_WIDTH, name="out")(found))
    fused = nn.LayerNorm(name="norm_1")(queries + found)
    inner = nn.gelu(nn.Dense(_INNER, name="expand")(fused))
    fused = fused + nn.Dense(_WIDTH, name="project")(inner)
    fused = nn.LayerNorm(name="norm_2")(fused)
    one = nn.relu(nn.Dense(_INNER, name="controller")(jnp.mean(fused, axis=1)))
    kernel = nn.Dense(d * CHANNELS + CHANNELS, name="kernel")(one)
    weights = kernel[:, : d * CHANNELS].reshape(-1, d, CHANNELS)
    made = jnp.einsum("bhwd,bdo->bhwo", embedding, weights)
    return made + kernel[:, None, None, d * CHANNELS :]


def attended(
  q: Float[Array, "b n a d"],
  k: Float[Array, "b m a d"],
  v: Float[Array, "b m a d"],
) -> Float[Array, "b n c"]:
  """Attention of heads, side by side; of one key, each query gets its value."""
  weights = jnp.einsum("bnad,bmad->banm", q, k) / jnp.sqrt(q.shape[-1])
  found = jnp.einsum("banm,bmad->bnad", jax.nn.softmax(weights, axis=-1), v)
  return found.reshape(*found.shape[:2], -1)


def _by_head(x: Float[Array, "b n c"]) -> Float[Array, "b n a d"]:
  return x.reshape(*x.shape[:2], _HEADS, -1)
