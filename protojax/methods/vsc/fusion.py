"""What is seen of a thing alone goes into the words that name it.

VSC (Dat et al., 2025, 2505.01104), as a third-party note tells its equations:
c'_i = MLP([c_i, e_j]) if token i belongs to pair j, else c_i. The layers are
ours, after FastComposer (2305.10431).
"""

import functools

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from protojax.layers.norm import layer_norm

_norm = functools.partial(layer_norm, epsilon=1e-5)


class Fusion(nn.Module):
  """Words and prototypes -> words.

  Attributes:
    residual: whether the MLP's output is added to the word, and begins as
      zero, so that training starts from the base's behaviour; without it the
      output replaces the word, as the equation says.
  """

  residual: bool = True

  @nn.compact
  def __call__(
    self,
    tokens: Float[Array, "b l c"],
    vectors: Float[Array, "b n v"],
    owner: Int[Array, "b l"],
    valid: Bool[Array, "b n"],
  ) -> Float[Array, "b l c"]:
    """The words of pairs fused, all others as they are.

    Args:
      tokens: states of words.
      vectors: the prototype e_j of each pair.
      owner: the pair of each word, -1 for none.
      valid: False for padding of the pairs.
    """
    channels = tokens.shape[-1]
    at = jnp.maximum(owner, 0)
    own = jnp.take_along_axis(vectors, at[..., None], axis=1)
    fused = (owner >= 0) & jnp.take_along_axis(valid, at, axis=1)
    x = _norm(jnp.concatenate([tokens, own], axis=-1), "norm_1")
    x = nn.Dense(channels, name="expand_1")(x)
    x = nn.Dense(channels, name="project_1")(nn.gelu(x))
    y = nn.Dense(channels, name="expand_2")(_norm(x, "norm_2"))
    x = x + nn.Dense(channels, name="project_2")(nn.gelu(y))
    if self.residual:
      zero = nn.initializers.zeros
      x = tokens + nn.Dense(channels, kernel_init=zero, name="out")(x)
    else:
      x = nn.Dense(channels, name="out")(x)
    return jnp.where(fused[..., None], x, tokens)


def of_others(
  vectors: Float[Array, "b n v"], valid: Bool[Array, "b n"]
) -> Float[Array, "b n v"]:
  """The prototype of the next pair in place of a pair's own.

  That of the last valid pair is the first one's; a single pair keeps its own.
  """
  count = jnp.maximum(jnp.sum(valid, axis=1, keepdims=True), 1)
  following = (jnp.arange(valid.shape[1])[None] + 1) % count
  return jnp.take_along_axis(vectors, following[..., None], axis=1)
