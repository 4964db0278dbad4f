"""How much of it there is to read: how few prototypes make a decision.

Sizes and sparsity as in PIP-Net (Nauta et al., CVPR 2023, and the authors'
code), whose weights are never negative; here a weight or a point of
either sign counts if it is larger than `NOTHING`. A point is score x weight.
"""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.types import Array, ArrayLike

# What PIP-Net's code takes for 0.
NOTHING = 1e-3


def sparsity(
  weights: Float[ArrayLike, "k p"], nothing: float = NOTHING
) -> Float[Array, ""]:
  """Share of the head's weights that are nothing."""
  return jnp.mean((jnp.abs(weights) <= nothing).astype(jnp.float32))


def global_size(
  weights: Float[ArrayLike, "k p"], nothing: float = NOTHING
) -> Int[Array, ""]:
  """Prototypes that speak for or against a class at all."""
  return jnp.sum(jnp.any(jnp.abs(weights) > nothing, axis=0))


def local_size(
  scores: Float[ArrayLike, "b p"],
  weights: Float[ArrayLike, "k p"],
  nothing: float = NOTHING,
) -> Int[Array, " b"]:
  """Prototypes of each image that give a point to any class."""
  largest = jnp.max(jnp.abs(weights), axis=0)[None]
  return jnp.sum(jnp.abs(scores) * largest > nothing, axis=1)


def prediction_size(
  scores: Float[ArrayLike, "b p"],
  weights: Float[ArrayLike, "k p"],
  classes: Int[ArrayLike, " b"],
  nothing: float = NOTHING,
) -> Int[Array, " b"]:
  """Prototypes of each image that give a point to one class, the predicted."""
  points = scores * jnp.asarray(weights)[classes]
  return jnp.sum(jnp.abs(points) > nothing, axis=1)


def prediction_sparsity(
  scores: Float[ArrayLike, "b p"],
  weights: Float[ArrayLike, "k p"],
  classes: Int[ArrayLike, " b"],
  level: float = 0.9,
) -> Float[Array, " b"]:
  """The fewest prototypes that have so much of what speaks for a class.

  s_spars of INSightR-Net (Hesse and Namburete, MICCAI 2022), over
  the points above 0.

  Args:
    scores: of the prototypes in each image.
    weights: of the head.
    classes: the predicted class of each image.
    level: share of the sum of the points that is to be reached.

  Returns:
    A whole number; nan where nothing speaks for the class.
  """
  points = jnp.maximum(scores * jnp.asarray(weights)[classes], 0.0)
  reached = jnp.cumsum(-jnp.sort(-points, axis=1), axis=1)
  total = reached[:, -1:]
  # One more than those with which it is not reached.
  few = 1 + jnp.sum(reached < level * total, axis=1)
  return jnp.where(total[:, 0] > 0, few.astype(jnp.float32), jnp.nan)


def uniqueness(
  places: Int[ArrayLike, "p e"], alive: Bool[ArrayLike, " p"]
) -> float:
  """Share of the living prototypes that are not another one once more.

  Unique prototypes over prototypes, as ProtoPNeXt counts them (Willard et
  al., 2024). On the host.

  Args:
    places: what tells prototypes apart: image and cell they were taken from.
    alive: the prototypes that count; nan without any.
  """
  living = np.asarray(places)[np.asarray(alive)]
  if not len(living):
    return float("nan")
  return len(np.unique(living, axis=0)) / len(living)
