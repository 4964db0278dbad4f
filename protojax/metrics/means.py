"""Means over cases, some of which are not defined.

The metrics of explanations give one value for each case (an image, a prototype,
a pair of them). A case without a value, such as an image without object, is
nan; it is left out of the mean and counted.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.types import Array, ArrayLike


class Mean(NamedTuple):
  """A mean, and the numbers of cases.

  Attributes:
    value: the mean; nan without a defined case.
    count: number of defined cases.
    left_out: number of cases that are not defined.
  """

  value: Float[ArrayLike, ""]
  count: Int[ArrayLike, ""]
  left_out: Int[ArrayLike, ""]


def mean(values: Float[ArrayLike, "*n"]) -> Mean:
  """The mean over all cases but those that are nan."""
  defined = ~jnp.isnan(jnp.asarray(values))
  count = jnp.sum(defined, dtype=jnp.int32)
  total = jnp.sum(jnp.where(defined, values, 0.0))
  return Mean(ratio(total, count), count, defined.size - count)


def ratio(
  value: Float[ArrayLike, "*n"], unit: Float[ArrayLike, "*n"] | Int[Array, "*n"]
) -> Float[Array, "*n"]:
  """value / unit; nan where the unit is not above 0."""
  defined = jnp.asarray(unit) > 0
  return jnp.where(defined, value / jnp.where(defined, unit, 1), jnp.nan)


def mean_where(
  values: Float[ArrayLike, "*n m"], chosen: ArrayLike
) -> Float[Array, "*n"]:
  """Means over the chosen values of the last axis; nan without any."""
  count = jnp.sum(chosen, axis=-1, dtype=jnp.int32)
  return ratio(jnp.sum(jnp.where(chosen, values, 0.0), axis=-1), count)
