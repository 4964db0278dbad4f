"""Groups: each is a weighted geometric mean of the prototypes of one class.

The weights of a group lie on the simplex: they are not negative and their sum
is 1. A projection after each step keeps them there and makes many of them 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax.types import Array, ArrayLike

# A projection of fewer living prototypes than this would divide by 0.
_FAR = -1e9


def projected(
  weights: Float[ArrayLike, "k g n"], alive: Bool[ArrayLike, "k n"]
) -> Float[Array, "k g n"]:
  """The nearest weights on the simplex of the living prototypes of each class.

  By sorting (Held, Wolfe and Crowder, 1974). Dead prototypes get 0, and so do
  all of a class that has none alive.

  Args:
    weights: of each class, group and prototype.
    alive: prototypes of each class that take part.
  """
  weights, there = jnp.asarray(weights), jnp.asarray(alive)[:, None]
  values = jnp.where(there, weights, _FAR)
  ordered = -jnp.sort(-values, axis=-1)
  count = jnp.arange(1, weights.shape[-1] + 1)[None, None]
  # How far all values lie above the simplex, if the `count` largest are kept.
  above = (jnp.cumsum(ordered, axis=-1) - 1) / count
  kept = jnp.sum(ordered > above, axis=-1, keepdims=True)
  shift = jnp.take_along_axis(above, jnp.maximum(kept - 1, 0), axis=-1)
  return jnp.where(there, jnp.maximum(values - shift, 0), 0)


def activations(
  of_prototypes: Float[ArrayLike, "b h w s k m"],
  weights: Float[ArrayLike, "k g n"],
  alive: Bool[ArrayLike, "s k m"],
) -> Float[Array, "b h w k g"]:
  """exp(sum of weight x activation): 1 to 1 / epsilon; 0 of classes without.

  Args:
    of_prototypes: log similarities; those of dead prototypes are 0.
    weights: n is s m, scale by scale.
    alive: prototypes that take part.
  """
  s, k, m = jnp.shape(alive)
  by_scale = jnp.asarray(weights).reshape(k, -1, s, m)
  exponent = jnp.einsum(
    "bhwskm,kgsm->bhwkg",
    of_prototypes,
    by_scale,
    precision=jax.lax.Precision.HIGHEST,
  )
  some = jnp.any(jnp.asarray(alive), axis=(0, 2))
  return jnp.where(some[None, None, None, :, None], jnp.exp(exponent), 0)


def by_class(alive: Bool[ArrayLike, "s k m"]) -> Bool[Array, "k n"]:
  """Living prototypes of each class, scale by scale: n is s m."""
  turned = jnp.moveaxis(jnp.asarray(alive), 1, 0)
  return turned.reshape(len(turned), -1)
