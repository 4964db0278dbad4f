"""Class prototypes: running means of unit vectors, kept in `State.memory`.

They are no parameters: losses take them as constants.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax import parallel
from protojax.engine import memory
from protojax.types import Array, ArrayLike

_EXACT = jax.lax.Precision.HIGHEST


class Prototypes(NamedTuple):
  """A direction for each class.

  Attributes:
    vectors: of length 1; 0 for a class that was in no batch yet.
    updates: batches that moved each.
  """

  vectors: Float[ArrayLike, "k d"]
  updates: Float[ArrayLike, " k"]


def nothing(classes: int, channels: int) -> Prototypes:
  """Before the first batch."""
  return Prototypes(jnp.zeros((classes, channels)), jnp.zeros(classes))


def moved(
  prototypes: Prototypes,
  vectors: Float[ArrayLike, "n d"],
  labels: Int[ArrayLike, " n"],
  weights: Float[ArrayLike, " n"],
  decay: float,
) -> Prototypes:
  """P_c <- unit(decay P_c + (1 - decay) m_c), by the cells of all devices.

  m_c is the mean of the vectors of class c by their weights. The first batch
  of a class gives its prototype; a class without weight keeps it. Inside a
  mapped step; there is no gradient.

  Args:
    prototypes: as they were.
    vectors: unit vectors of this device's cells.
    labels: their classes; k and above has no weight.
    weights: 0 leaves a cell out.
    decay: mu.
  """
  old = jnp.asarray(prototypes.vectors)
  vectors = jax.lax.stop_gradient(jnp.asarray(vectors))
  own = jax.nn.one_hot(jnp.asarray(labels), len(old), dtype=old.dtype)
  own = own * jax.lax.stop_gradient(jnp.asarray(weights))[:, None]
  sums = jnp.matmul(own.T, vectors, precision=_EXACT)
  sums, counts = parallel.psum((sums, jnp.sum(own, axis=0)))
  means = sums / jnp.where(counts > 0, counts, 1.0)[:, None]
  before = jnp.asarray(prototypes.updates)
  found = jnp.where(before[:, None] > 0, memory.ema(old, means, decay), means)
  there = counts > 0
  return Prototypes(jnp.where(there[:, None], unit(found), old), before + there)


def unit(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
  """Vectors of length 1; 0 stays 0."""
  squares = jnp.sum(x * x, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))


def drift(before: Prototypes, after: Prototypes) -> Float[Array, ""]:
  """1 - cosine of before and after, mean over the prototypes there were."""
  cosines = jnp.sum(
    jnp.asarray(before.vectors) * jnp.asarray(after.vectors), axis=1
  )
  there = jnp.asarray(before.updates) > 0
  return jnp.sum(jnp.where(there, 1 - cosines, 0.0)) / jnp.maximum(
    jnp.sum(there), 1
  )
