"""How far a pseudo-label is trusted: confidence, agreement, the seeds' accord.

w = [max p > theta] [argmax r = y] (1 - JS), each factor on demand: p is the
mean over the seeds, r the teacher's prototype scores, y the pseudo-label and JS
the Jensen-Shannon divergence of the seeds in bits.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.types import Array, ArrayLike


@dataclasses.dataclass(frozen=True)
class Rule:
  """Which factors count.

  Attributes:
    threshold: theta; a larger confidence is needed. Below 0: none.
    agreement: whether the nearest prototype must be that of the label.
    accord: whether the seeds' disagreement lowers the weight.
  """

  threshold: float
  agreement: bool
  accord: bool


def disagreement(
  probabilities: Float[ArrayLike, "r b h w k"],
) -> Float[Array, "b h w"]:
  """Jensen-Shannon divergence of the seeds over log 2, clipped to 0..1."""
  p = jnp.asarray(probabilities)
  apart = _entropy(jnp.mean(p, axis=0)) - jnp.mean(_entropy(p), axis=0)
  return jnp.clip(apart / math.log(2), 0.0, 1.0)


def _entropy(p: Array) -> Array:
  return -jnp.sum(jax.scipy.special.xlogy(p, p), axis=-1)


def weights(
  rule: Rule,
  probabilities: Float[ArrayLike, "r b h w k"],
  scores: Float[ArrayLike, "r b h w k"],
  labels: Int[ArrayLike, "b h w"],
) -> Float[Array, "b h w"]:
  """The weight of each pseudo-label, 0..1.

  Args:
    rule: which factors count.
    probabilities: of the teacher.
    scores: its prototype scores.
    labels: the pseudo-labels; k is none, of weight 0.
  """
  p = jnp.asarray(probabilities)
  labels = jnp.asarray(labels)
  trusted = labels < p.shape[-1]
  if rule.threshold >= 0:
    trusted &= jnp.max(jnp.mean(p, axis=0), axis=-1) > rule.threshold
  if rule.agreement:
    mean = jnp.mean(jnp.asarray(scores), axis=0)
    trusted &= jnp.argmax(mean, axis=-1) == labels
  found = trusted.astype(jnp.float32)
  return found * (1 - disagreement(p)) if rule.accord else found
