"""Losses of PatchCT beside the transport: asymmetric loss, patch logits, hinge.

An unknown label (-1) is left out of all of them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.types import Array, ArrayLike


def asymmetric(
  logits: Float[ArrayLike, "b k"],
  labels: Int[ArrayLike, "b k"],
  positive: float,
  negative: float,
  margin: float,
) -> Float[Array, " b"]:
  """ASL (Ridnik et al., ICCV 2021), the sum over the labels of each image.

    - sum_k y (1 - p)^g+ log p + (1 - y) p_m^g- log(1 - p_m)

  with p_m = max(p - margin, 0). With both exponents and the margin 0 it is the
  binary cross entropy.

  Args:
    logits: of the labels; p is their sigmoid.
    labels: y; -1 is unknown.
    positive: g+, of labels that are there.
    negative: g-, of labels that are not.
    margin: probability below which an absent label costs nothing.
  """
  z, y = jnp.asarray(logits, jnp.float32), jnp.asarray(labels)
  p = jax.nn.sigmoid(z)
  there = -jax.nn.log_sigmoid(z)
  if positive:
    there *= _power(1 - p, positive)
  if margin:
    # 1 - p_m is at least the margin, so that the logarithm is finite.
    absent = -jnp.log(jnp.minimum(jax.nn.sigmoid(-z) + margin, 1))
  else:
    absent = -jax.nn.log_sigmoid(-z)
  if negative:
    absent *= _power(jnp.maximum(p - margin, 0), negative)
  each = jnp.where(y == 1, there, jnp.where(y == 0, absent, 0))
  return jnp.sum(each, axis=-1)


def patch_scores(
  similarity: Float[ArrayLike, "b j k"],
  temperature: float | Float[ArrayLike, ""],
) -> Float[Array, "b k"]:
  """T log mean_j exp(s_jk / T): a soft maximum over the patches.

  In place of the class token's cosine it makes logits of the patches alone.
  """
  scaled = jnp.asarray(similarity, jnp.float32) / temperature
  count = scaled.shape[-2]
  total = jax.nn.logsumexp(scaled, axis=-2) - jnp.log(count)
  return jnp.asarray(temperature) * total


def absent_hinge(
  similarity: Float[ArrayLike, "b j k"],
  backward: Float[ArrayLike, "b j k"],
  labels: Int[ArrayLike, "b k"],
  margin: float,
) -> Float[Array, " b"]:
  """max(0, s - margin) over the backward plans of labels that are not there.

  The mean over these labels; transport knows present labels alone, and nothing
  in it keeps a patch away from a label.
  """
  cost = jnp.maximum(jnp.asarray(similarity) - margin, 0)
  each = jnp.sum(cost * backward, axis=-2)
  absent = jnp.asarray(labels) == 0
  total = jnp.sum(jnp.where(absent, each, 0), axis=-1)
  return total / jnp.maximum(jnp.sum(absent, axis=-1), 1)


def _power(base: Array, exponent: float) -> Array:
  # The gradient of a root is not finite at 0; here it is 0.
  some = base > 0
  return jnp.where(some, jnp.where(some, base, 1.0) ** exponent, 0.0)
