"""Losses of the routers: routing contrastive loss, and balance of the load."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax.methods.promoe.routing import normalised, product
from protojax.types import Array, ArrayLike

# A logit that no softmax sees.
_NEVER = -1e30


def means(
  sums: Float[ArrayLike, "e d"], counts: Float[ArrayLike, " e"]
) -> tuple[Float[Array, "e d"], Bool[Array, " e"]]:
  """The mean token of each expert, and which experts have a token.

  That of an expert without a token is all ones: the gradient of a norm at 0 is
  not a number, even where its row is masked afterwards.
  """
  counts = jnp.asarray(counts)
  present = counts > 0
  found = jnp.asarray(sums) / jnp.maximum(counts, 1)[:, None]
  return jnp.where(present[:, None], found, 1.0), present


def cosines(
  prototypes: Float[ArrayLike, "e d"], of: Float[ArrayLike, "e d"]
) -> Float[Array, "e e"]:
  """Cosine of every prototype (row) and every mean token (column)."""
  return product(normalised(prototypes), normalised(of))


def routing_contrastive(
  prototypes: Float[ArrayLike, "e d"],
  of: Float[ArrayLike, "e d"],
  present: Bool[ArrayLike, " e"],
  temperature: float,
) -> Float[Array, ""]:
  """RCL: each prototype is nearest to the mean of its own tokens.

  The mean over the experts with tokens; 0 if there are fewer than two.

  Args:
    prototypes: of the routed experts.
    of: mean token of each.
    present: which experts have tokens.
    temperature: tau.
  """
  present = jnp.asarray(present)
  logits = cosines(prototypes, of) / temperature
  logits = jnp.where(present[None], logits, _NEVER)
  each = jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits)
  count = jnp.sum(present)
  total = jnp.sum(jnp.where(present, each, 0.0))
  return jnp.where(count < 2, 0.0, total / jnp.maximum(count, 1))


def margin(
  prototypes: Float[ArrayLike, "e d"],
  of: Float[ArrayLike, "e d"],
  present: Bool[ArrayLike, " e"],
) -> Float[Array, ""]:
  """cos(p_i, m_i) less the largest cos(p_i, m_j); mean over experts.

  Of experts with tokens alone; 0 if there are fewer than two.
  """
  present = jnp.asarray(present)
  found = jnp.where(present[None], cosines(prototypes, of), -1.0)
  others = jnp.where(jnp.eye(len(found), dtype=bool), -1.0, found)
  apart = jnp.diagonal(found) - jnp.max(others, axis=1)
  total = jnp.sum(jnp.where(present, apart, 0.0))
  count = jnp.sum(present)
  return jnp.where(count < 2, 0.0, total / jnp.maximum(count, 1))


def balance(
  probabilities: Float[ArrayLike, " e"], counts: Float[ArrayLike, " e"]
) -> Float[Array, ""]:
  """N_E sum_i f_i P_i (Switch, 2101.03961): 1 if the load is equal.

  Args:
    probabilities: summed over tokens, [e].
    counts: tokens that chose each expert, without a gradient.
  """
  counts = jax.lax.stop_gradient(jnp.asarray(counts))
  share = counts / jnp.maximum(jnp.sum(counts), 1)
  mean = probabilities / jnp.maximum(jnp.sum(probabilities), 1e-9)
  return len(counts) * jnp.sum(share * mean)


def load_entropy(counts: Float[ArrayLike, " e"]) -> Float[Array, ""]:
  """Entropy of the experts' load over its largest, log N_E."""
  counts = jnp.asarray(counts)
  share = counts / jnp.maximum(jnp.sum(counts), 1)
  logs = jnp.log(jnp.where(share > 0, share, 1.0))
  return -jnp.sum(share * logs) / jnp.log(float(max(len(counts), 2)))
