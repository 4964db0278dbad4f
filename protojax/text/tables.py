"""Tables of learned vectors, one for each word, where no tower is used."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.types import ArrayLike


def learned(key: jax.Array, count: int, width: int) -> Float[jax.Array, "k d"]:
  """Random vectors of length about 1, to be trained."""
  return jax.random.normal(key, (count, width)) * width**-0.5


def unit(vectors: Float[ArrayLike, "... d"]) -> Float[jax.Array, "... d"]:
  """Vectors of length 1; zeros stay zeros, and have a gradient."""
  vectors = jnp.asarray(vectors, jnp.float32)
  squares = jnp.sum(vectors**2, axis=-1, keepdims=True)
  return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))


def mean_cosine(vectors: Float[ArrayLike, "k d"]) -> Float[jax.Array, ""]:
  """Mean cosine of two different vectors: near 1, they have collapsed."""
  rows = unit(vectors)
  count = len(rows)
  total = jnp.sum(jnp.sum(rows, axis=0) ** 2) - jnp.sum(rows**2)
  return total / max(count * (count - 1), 1)
