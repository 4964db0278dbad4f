"""From scores to logits: a weighted sum that can be read as points.

Last step of the forward path. A logit is the sum of its points, similarity
times weight, which is what the scoring sheet of an explanation shows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.prototypes.distance import PRECISION
from protojax.types import ArrayLike

# ProtoPNet, section 2.2: the start of the head's weights.
OWN_CLASS = 1.0
OTHER_CLASS = -0.5


def initial(
  class_of: Int[ArrayLike, " p"], classes: int
) -> Float[jax.Array, "k p"]:
  """Weights to start from: +1 to the own class, -0.5 to the others."""
  own = jnp.arange(classes)[:, None] == class_of[None]
  return jnp.where(own, OWN_CLASS, OTHER_CLASS)


def logits(
  scores: Float[ArrayLike, "b p"],
  weight: Float[ArrayLike, "k p"],
  alive: Bool[ArrayLike, " p"],
) -> Float[jax.Array, "b k"]:
  """Weighted sums over the prototypes that are alive."""
  # Both are masked: 0 * inf or nan would reach the logits.
  scores = jnp.where(alive[None], scores, 0.0)
  weight = jnp.where(alive[None], weight, 0.0)
  return jnp.einsum("bp,kp->bk", scores, weight, precision=PRECISION)


def points(
  scores: Float[ArrayLike, "b p"], weight: Float[ArrayLike, "k p"]
) -> Float[ArrayLike, "b k p"]:
  """What each prototype adds to each logit: similarity times weight."""
  return scores[:, None] * weight[None]
