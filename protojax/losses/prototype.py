"""Loss terms of ProtoPNet, one value per example.

Terms are arrays [b]; the caller chooses examples, sums, and divides once over
all devices. m(i, j) is the smallest distance of image i to prototype j, y(i)
the label of image i, c(j) the class of prototype j. Only living prototypes
count.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num
import optax

from protojax.types import ArrayLike


def cross_entropy(
  logits: Float[ArrayLike, "b k"], labels: Int[ArrayLike, " b"]
) -> Float[jax.Array, " b"]:
  """-log softmax(logits)[label]; leave out terms of an unknown label (-1)."""
  return optax.softmax_cross_entropy_with_integer_labels(
    jnp.asarray(logits, jnp.float32), jnp.maximum(labels, 0)
  )


def cluster(
  distances: Float[ArrayLike, "b p"],
  labels: Int[ArrayLike, " b"],
  class_of: Int[ArrayLike, " p"],
  alive: Bool[ArrayLike, " p"],
) -> tuple[Float[jax.Array, " b"], Bool[jax.Array, " b"]]:
  """Clst_i = min over j with c(j) = y(i) of m(i, j) (ProtoPNet, eq. 2).

  Returns:
    The terms, and whether they count: an image whose class has no living
    prototype gets 0 and False.
  """
  own = labels[:, None] == class_of[None]
  return _minimum_where(distances, own & alive[None])


def separation(
  distances: Float[ArrayLike, "b p"],
  labels: Int[ArrayLike, " b"],
  class_of: Int[ArrayLike, " p"],
  alive: Bool[ArrayLike, " p"],
) -> tuple[Float[jax.Array, " b"], Bool[jax.Array, " b"]]:
  """min over j with c(j) != y(i) of m(i, j) (ProtoPNet, eq. 2).

  The positive distance, as in the paper's code: larger is better, so its
  weight in the loss is negative (-0.08).

  Returns:
    The terms, and whether they count: an image with no living prototype of
    another class gets 0 and False.
  """
  other = labels[:, None] != class_of[None]
  return _minimum_where(distances, other & alive[None])


def l1_off_class(
  weights: Float[ArrayLike, "*n"], entries: Num[ArrayLike, "*n"]
) -> Float[jax.Array, ""]:
  """Sum of |w(k, j)| over j with c(j) != k (ProtoPNet, section 2.2).

  Args:
    weights: parameters of the head.
    entries: number of such w(k, j), j alive, that each parameter stands for.
  """
  return jnp.sum(jnp.where(entries > 0, jnp.abs(weights) * entries, 0.0))


def _minimum_where(distances, chosen):
  # Gathered, not jnp.min: among equal distances (duplicates after a push) the
  # gradient goes to the first prototype alone, as in the paper's code.
  first = jnp.argmin(jnp.where(chosen, distances, jnp.inf), axis=1)
  values = jnp.take_along_axis(jnp.asarray(distances), first[:, None], axis=1)
  valid = jnp.any(chosen, axis=1)
  return jnp.where(valid, values[:, 0], 0.0), valid
