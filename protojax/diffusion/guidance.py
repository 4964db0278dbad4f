"""Classifier-free guidance (Ho & Salimans, 2022), both halves in one batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.diffusion.samplers import Predict
from protojax.types import PyTree, UserError

# Noisy images, times, conditions -> prediction.
Conditional = Callable[
  [Float[Array, "b h w c"], Float[Array, " b"], PyTree], Float[Array, "b h w c"]
]


def guided(
  network: Conditional, condition: PyTree, null: PyTree, weight: float
) -> Predict:
  """The prediction without a condition, and `weight` times the difference.

  prediction = null + weight (conditional - null), of all channels. The network
  sees one batch of 2b, the half without a condition last. With weight 1 it is
  asked for the conditional half alone, as nothing else counts.

  Args:
    network: with its parameters.
    condition: a tree of arrays [b ...], such as labels or texts.
    null: the tree that stands for no condition, such as labels k or the texts
      of a negative prompt.
    weight: 1 leaves the conditional prediction; more draws towards what is
      particular to the condition; 0 ignores it.

  Raises:
    UserError: the weight is below 0.
  """
  if weight < 0:
    raise UserError(
      f"guidance {weight:g} draws away from the condition: give 1 (no"
      " guidance), more, or 0 (the condition is ignored)"
    )
  if weight == 1:
    return lambda x, t: network(x, t, condition)
  both = jax.tree.map(lambda *halves: jnp.concatenate(halves), condition, null)

  def predict(x, t):
    found = network(jnp.concatenate([x, x]), jnp.concatenate([t, t]), both)
    conditional, unconditional = jnp.split(found, 2)
    return unconditional + weight * (conditional - unconditional)

  return predict
