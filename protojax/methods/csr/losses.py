"""Losses of a concept model: presence of concepts, contrast between them.

In the contrast the prototypes of a concept attract its own vectors and repel
those of other concepts (CSR, eqs. 6-9, the form of SoftTriple, Qian et al.,
1909.05235).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float
import optax

from protojax.types import ArrayLike


def presence(
  logits: Float[ArrayLike, "b c"], present: Bool[ArrayLike, "b c"]
) -> Float[jax.Array, " b"]:
  """Binary cross entropy of each image, mean over the concepts."""
  targets = jnp.asarray(present, jnp.float32)
  return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, targets), axis=1)


def relaxed_maximum(
  cosines: Float[ArrayLike, "*n m"], gamma: float
) -> Float[jax.Array, "*n"]:
  """Similarity to a concept: a softmax over its prototypes (eqs. 6-7).

  sum_m q_m s_m with q = softmax(gamma s): the mean for gamma 0, the maximum
  for gamma towards infinity.
  """
  share = jax.nn.softmax(gamma * cosines, axis=-1)
  return jnp.sum(share * cosines, axis=-1)


def concept_contrast(
  similarities: Float[ArrayLike, "b c c"], scale: float, margin: float
) -> Float[jax.Array, "b c"]:
  """Cross entropy of the own concept among all, for every vector (eq. 9).

  Args:
    similarities: of the vector of concept i (second axis) to concept j (last).
    scale: lambda.
    margin: added to the own similarity. If negative, the own concept must win
      by it; if positive, as in the public replication of the paper, the loss is
      easier.
  """
  own = jnp.eye(similarities.shape[-1])[None]
  logits = scale * (similarities + margin * own)
  return jax.nn.logsumexp(logits, axis=-1) - jnp.sum(logits * own, axis=-1)
