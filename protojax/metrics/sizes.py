"""How many prototypes a reader has to look at to understand a decision.

Sizes and sparsity as in PIP-Net (Nauta et al., CVPR 2023, and the authors'
code), whose weights are never negative. Here a weight or a point of either sign
counts if its size is above `NOTHING`. A point is score x weight.
"""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.types import Array, ArrayLike

# PIP-Net's code takes smaller values for 0.
NOTHING = 1e-3


def sparsity(
  weights: Float[ArrayLike, "k p"], nothing: float = NOTHING
) -> Float[Array, ""]:
  """Share of the head's weights that count as 0."""
  return jnp.mean((jnp.abs(weights) <= nothing).astype(jnp.float32))


def global_size(
  weights: Float[ArrayLike, "k p"], nothing: float = NOTHING
) -> Int[Array, ""]:
  """Number of prototypes with a weight for or against any class."""
  return jnp.sum(jnp.any(jnp.abs(weights) > nothing, axis=0))


def local_size(
  scores: Float[ArrayLike, "b p"],
  weights: Float[ArrayLike, "k p"],
  nothing: float = NOTHING,
) -> Int[Array, " b"]:
  """Number of prototypes that give points to any class, for each image."""
  largest = jnp.max(jnp.abs(weights), axis=0)[None]
  return jnp.sum(jnp.abs(scores) * largest > nothing, axis=1)


def prediction_size(
  scores: Float[ArrayLike, "b p"],
  weights: Float[ArrayLike, "k p"],
  classes: Int[ArrayLike, " b"],
  nothing: float = NOTHING,
) -> Int[Array, " b"]:
  """Number of prototypes that give points to one class, for each image."""
  points = scores * jnp.asarray(weights)[classes]
  return jnp.sum(jnp.abs(points) > nothing, axis=1)


def prediction_sparsity(
  scores: Float[ArrayLike, "b p"],
  weights: Float[ArrayLike, "k p"],
  classes: Int[ArrayLike, " b"],
  level: float = 0.9,
) -> Float[Array, " b"]:
  """The fewest prototypes that hold a share of the points for a class.

  s_spars of INSightR-Net (Hesse and Namburete, MICCAI 2022), over the points
  above 0.

  Args:
    scores: of the prototypes in each image.
    weights: of the head.
    classes: the predicted class of each image.
    level: the share of the sum of the points.

  Returns:
    A whole number; nan if nothing speaks for the class.
  """
  points = jnp.maximum(scores * jnp.asarray(weights)[classes], 0.0)
  reached = jnp.cumsum(-jnp.sort(-points, axis=1), axis=1)
  total = reached[:, -1:]
  # One more than the numbers of prototypes that do not reach the share.
  few = 1 + jnp.sum(reached < level * total, axis=1)
  return jnp.where(total[:, 0] > 0, few.astype(jnp.float32), jnp.nan)


def uniqueness(
  places: Int[ArrayLike, "p e"], alive: Bool[ArrayLike, " p"]
) -> float:
  """Number of distinct living prototypes over that of living prototypes.

  As ProtoPNeXt counts them (Willard et al., 2024). On the host.

  Args:
    places: image and cell of each prototype's provenance; equal prototypes have
      equal places.
    alive: the prototypes that count; nan without any.
  """
  living = np.asarray(places)[np.asarray(alive)]
  if not len(living):
    return float("nan")
  return len(np.unique(living, axis=0)) / len(living)
