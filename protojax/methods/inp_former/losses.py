"""Loss terms of INP-Former (2503.02424), one value per image.

Terms are arrays [b]; the caller sums them and divides once over all devices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.types import ArrayLike

# Below this product of lengths two vectors have no angle.
_TINY = 1e-12


def coherence(distance: Float[ArrayLike, "b n"]) -> Float[jax.Array, " b"]:
  """L_c, INP Coherence Loss: mean distance of tokens to nearest prototypes."""
  return jnp.mean(jnp.asarray(distance), axis=1)


def soft_mining(
  encoded: Float[ArrayLike, "g b n d"],
  decoded: Float[ArrayLike, "g b n d"],
  gamma: float = 3.0,
  mean: Callable[[jax.Array], jax.Array] = lambda x: x,
) -> Float[jax.Array, " b"]:
  """L_sm, Soft Mining Loss: 1 - cos of whole images, mean over the groups.

  The channels of all tokens are one vector. In the backward pass the gradient
  of each token is multiplied by its factor, so that badly rebuilt tokens count
  more. `encoded` gets no gradient.

  Args:
    encoded: means of the encoder's levels, by group.
    decoded: means of the decoder's blocks, by group.
    gamma: see `mining_factor`.
    mean: see `mining_factor`.
  """
  encoded = jax.lax.stop_gradient(jnp.asarray(encoded, jnp.float32))
  decoded = jnp.asarray(decoded, jnp.float32)
  factor = mining_factor(encoded, decoded, gamma, mean)[..., None]
  # The value of `decoded`, its gradient times the factor.
  fixed = jax.lax.stop_gradient(decoded)
  scaled = fixed + factor * (decoded - fixed)
  return jnp.mean(1.0 - _cosine(encoded, scaled, (-2, -1)), axis=0)


def mining_factor(
  encoded: Float[ArrayLike, "g b n d"],
  decoded: Float[ArrayLike, "g b n d"],
  gamma: float = 3.0,
  mean: Callable[[jax.Array], jax.Array] = lambda x: x,
) -> Float[jax.Array, "g b n"]:
  """w = (M / mean M)**gamma, where M is 1 - cos of a token.

  The mean of a group is over all tokens of the batch. The factor has no
  gradient.

  Args:
    encoded: means of the encoder's levels, by group.
    decoded: means of the decoder's blocks, by group.
    gamma: 0 treats all tokens alike.
    mean: averages the means of all devices.
  """
  encoded = jax.lax.stop_gradient(jnp.asarray(encoded, jnp.float32))
  decoded = jax.lax.stop_gradient(jnp.asarray(decoded, jnp.float32))
  # Clipped: rounding takes the cosine of a vector with itself above one.
  distance = jnp.maximum(1.0 - _cosine(encoded, decoded, (-1,)), 0.0)
  average = mean(jnp.mean(distance, axis=(1, 2)))[:, None, None]
  return (distance / jnp.maximum(average, _TINY)) ** gamma


def _cosine(a, b, axes):
  squares = jnp.sum(a**2, axis=axes) * jnp.sum(b**2, axis=axes)
  lengths = jnp.sqrt(jnp.maximum(squares, _TINY**2))
  return jnp.sum(a * b, axis=axes) / lengths
