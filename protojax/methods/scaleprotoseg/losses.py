"""Losses of ScaleProtoSeg: pixels, diversity of prototypes, sparsity of groups.

All take sums and counts apart, since a term is a sum over a count over all
devices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.types import Array, ArrayLike

_FAR = -1e30
# Inside the logarithm of an entropy, as in the authors' code.
_EPSILON = 1e-5
# Pixels of a class that an image needs for maps to differ.
_FEWEST = 2


class Sum(NamedTuple):
  """A sum, and of how many."""

  total: Float[ArrayLike, ""]
  count: Float[ArrayLike, ""] | Int[ArrayLike, ""]


def cross_entropy(
  logits: Float[ArrayLike, "b h w k"],
  labels: Int[ArrayLike, "b h w"],
  ignore: int = 255,
) -> Sum:
  """Cross entropy of all pixels of a known class."""
  labels = jnp.asarray(labels)
  known = labels != ignore
  chosen = jnp.where(known, labels, 0)[..., None]
  log = jax.nn.log_softmax(jnp.asarray(logits), axis=-1)
  each = -jnp.take_along_axis(log, chosen, axis=-1)[..., 0]
  return Sum(jnp.sum(jnp.where(known, each, 0)), jnp.sum(known))


@jax.checkpoint
def diversity(
  values: Float[Array, "b n s k m"],
  labels: Int[Array, "b n"],
  alive: Bool[Array, "s k m"],
) -> Sum:
  """exp(-D) of pairs of prototypes of one class and scale: 1 if maps are equal.

  v_j is the softmax of prototype j's values over the pixels of its class in an
  image, and D the mean of both Kullback-Leibler divergences of a pair. Without
  loops: all divergences of a class come of one product of v and log v. Computed
  again for the gradient, since it holds a number for each pixel and prototype.

  Args:
    values: distances, as in the authors' code, or activations.
    labels: class of each pixel; what is no class counts nowhere.
    alive: prototypes that take part.
  """
  classes = jnp.arange(values.shape[3])
  mine = labels[..., None] == classes[None, None]
  seen = mine[:, :, None, :, None]
  logs = jax.nn.log_softmax(jnp.where(seen, values, _FAR), axis=1)
  logs = jnp.where(seen, logs, 0)
  shares = jnp.where(seen, jnp.exp(logs), 0)
  # Of each pair: sum over pixels of v_i log v_j.
  crossed = jnp.einsum(
    "bnski,bnskj->bskij", shares, logs, precision=jax.lax.Precision.HIGHEST
  )
  own = jnp.diagonal(crossed, axis1=-2, axis2=-1)
  apart = own[..., :, None] - crossed
  symmetric = (apart + jnp.swapaxes(apart, -1, -2)) / 2
  enough = jnp.sum(mine, axis=1) >= _FEWEST
  upper = jnp.triu(jnp.ones(crossed.shape[-2:], bool), 1)
  both = alive[..., :, None] & alive[..., None, :] & upper[None, None]
  counted = enough[:, None, :, None, None] & both[None]
  terms = jnp.where(counted, jnp.exp(-symmetric), 0)
  return Sum(jnp.sum(terms), jnp.sum(counted))


def entropy(
  weights: Float[ArrayLike, "k g n"], alive: Bool[ArrayLike, "k n"]
) -> Float[Array, ""]:
  """Mean entropy of the groups, as a share of the largest that there can be.

  A class with one living prototype or none has no choice, and is left out.
  """
  weights = jnp.asarray(weights)
  count = jnp.sum(jnp.asarray(alive), axis=-1)
  choice = count > 1
  each = -jnp.sum(weights * jnp.log(weights + _EPSILON), axis=-1)
  most = jnp.log(jnp.where(choice, count, 2).astype(jnp.float32))
  shares = jnp.where(choice[:, None], each / most[:, None], 0)
  groups = jnp.maximum(jnp.sum(choice) * weights.shape[1], 1)
  return jnp.sum(shares) / groups


def foreign(weights: Float[ArrayLike, "k c e"]) -> Float[Array, ""]:
  """Sum of the sizes of a head's weights from other classes (L_1).

  Args:
    weights: for each class k, of each e that belongs to class c.
  """
  weights = jnp.asarray(weights)
  own = jnp.eye(len(weights))[..., None]
  return jnp.sum(jnp.abs(weights) * (1 - own))
