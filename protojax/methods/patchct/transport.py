"""Conditional transport between the patches of an image and its labels.

PatchCT (Li et al., ICCV 2023, 2307.09066). Its equations were not at hand; this
is the form of the related code of its authors (WeTe, 2203.01570): each patch
sends its mass to labels by a softmax, the forward plan, and each label sends
its mass to patches, the backward plan. A direction fixes one marginal, so that
a plan is closed and no solver is needed.

All functions take similarities with any axes before the patches j and the
labels k, in float32, and work in log space.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.types import Array, ArrayLike

COSTS = ("cosine", "exponential")
# The logarithm of no mass. Infinity would give 0 times infinity in gradients.
_NOTHING = -1e9


class Plans(NamedTuple):
  """Where the mass goes.

  Attributes:
    forward: share of a patch's mass that each label gets, [*n j k]; its rows
      add up to 1.
    backward: share of a label's mass that each patch gets, [*n j k]; its
      columns add up to 1.
  """

  forward: Array
  backward: Array


class Costs(NamedTuple):
  """Costs of both directions for each image, [*n]."""

  forward: Array
  backward: Array


def masses(
  labels: Int[ArrayLike, "*n k"], null: float | None = None
) -> Float[Array, "*n c"]:
  """beta: the mass of each label of an image; equal over those that are there.

  Args:
    labels: 1 for a label that is there; 0 and -1 (unknown) have no mass.
    null: mass of the null prototype, in a further column behind the labels;
      None: there is none.

  Returns:
    Masses that add up to 1; all are 0 for an image without labels.
  """
  present = jnp.asarray(labels == 1, jnp.float32)
  count = jnp.sum(present, axis=-1, keepdims=True)
  found = present / jnp.maximum(count, 1)
  if null is None:
    return found
  share = jnp.where(count > 0, null, 0.0)
  return jnp.concatenate([found * (1 - share), share], axis=-1)


def log_masses(beta: Float[ArrayLike, "*n k"]) -> Float[Array, "*n k"]:
  """Logarithms; a very small number for no mass."""
  beta = jnp.asarray(beta)
  some = beta > 0
  return jnp.where(some, jnp.log(jnp.where(some, beta, 1)), _NOTHING)


def plans(
  similarity: Float[ArrayLike, "*n j k"],
  beta: Float[ArrayLike, "*n k"],
  theta: Float[ArrayLike, "*n j"],
  temperature: float | Float[ArrayLike, ""],
) -> Plans:
  """Forward and backward plan.

    pi_f(k|j) = beta_k exp(s_jk / T) / sum_k' beta_k' exp(s_jk' / T)
    pi_b(j|k) = theta_j exp(s_jk / T) / sum_j' theta_j' exp(s_j'k / T)

  Args:
    similarity: s, the cosines.
    beta: mass of each label.
    theta: mass of each patch.
    temperature: T.
  """
  scaled = jnp.asarray(similarity, jnp.float32) / temperature
  forward = jax.nn.softmax(scaled + log_masses(beta)[..., None, :], axis=-1)
  backward = jax.nn.softmax(scaled + log_masses(theta)[..., None], axis=-2)
  return Plans(forward, backward)


def costs(
  similarity: Float[ArrayLike, "*n j k"],
  beta: Float[ArrayLike, "*n k"],
  theta: Float[ArrayLike, "*n j"],
  temperature: float | Float[ArrayLike, ""],
  cost: str = "cosine",
) -> Costs:
  """The cost of both plans; 0 for an image without labels.

    forward  = sum_j theta_j sum_k pi_f(k|j) c_jk
    backward = sum_k beta_k sum_j pi_b(j|k) c_jk

  Gradients flow through plans and costs.

  Args:
    similarity, beta, theta, temperature: see `plans`.
    cost: "cosine", c = 1 - s, or "exponential", c = exp(-s).
  """
  similarity = jnp.asarray(similarity, jnp.float32)
  found = plans(similarity, beta, theta, temperature)
  c = 1 - similarity if cost == "cosine" else jnp.exp(-similarity)
  beta, theta = jnp.asarray(beta), jnp.asarray(theta)
  forward = jnp.sum(found.forward * c * theta[..., None], axis=(-2, -1))
  backward = jnp.sum(found.backward * c * beta[..., None, :], axis=(-2, -1))
  there = jnp.sum(beta, axis=-1) > 0
  return Costs(jnp.where(there, forward, 0), jnp.where(there, backward, 0))


def attention(
  token: Float[ArrayLike, "*n d"],
  patches: Float[ArrayLike, "*n j d"],
  temperature: float | Float[ArrayLike, ""],
) -> Float[Array, "*n j"]:
  """theta by how similar each patch is to the class token; has no gradient."""
  s = jnp.einsum(
    "...jd,...d->...j", patches, token, precision=jax.lax.Precision.HIGHEST
  )
  return jax.lax.stop_gradient(jax.nn.softmax(s / temperature, axis=-1))
