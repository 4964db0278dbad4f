"""The terms of the loss, as sums and counts of one device's cells.

The abstract of the paper names none of them: the formulas are ours. i is a
cell, o its logits, r its prototype scores, y its class, omega its weight.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import optax

from protojax import parallel
from protojax.types import Array, ArrayLike

_EXACT = jax.lax.Precision.HIGHEST


class Sum(NamedTuple):
  """A sum over cells or images, and how many they are."""

  total: Float[Array, ""]
  count: Float[Array, ""]


def cross_entropy(
  logits: Float[ArrayLike, "*n k"],
  labels: Int[ArrayLike, "*n"],
  weights: Float[ArrayLike, "*n"] | None = None,
) -> Sum:
  """-omega log softmax(o)[y] over the cells whose class is known.

  Args:
    logits: o.
    labels: y; k and above is not known.
    weights: omega; None: 1. The count is that of the cells, not of the
      weights, so that low trust makes the gradient small.
  """
  logits, labels = jnp.asarray(logits), jnp.asarray(labels)
  known = labels < logits.shape[-1]
  each = optax.softmax_cross_entropy_with_integer_labels(
    logits, jnp.where(known, labels, 0)
  )
  if weights is not None:
    each = each * jnp.asarray(weights)
  total = jnp.sum(jnp.where(known, each, 0.0))
  count = known if weights is None else jnp.ones_like(known)
  return Sum(total, jnp.sum(count, dtype=jnp.float32))


def dice(
  logits: Float[ArrayLike, "b h w k"], labels: Int[ArrayLike, "b h w"]
) -> Sum:
  """1 - 2 sum(p y) / (sum(p) + sum(y)), mean over an image's classes.

  A class counts where the image shows it; so does an image with any.

  Args:
    logits: o, of which p is the softmax.
    labels: y; k and above is not known, and counts nowhere.
  """
  logits, labels = jnp.asarray(logits), jnp.asarray(labels)
  classes = logits.shape[-1]
  known = (labels < classes)[..., None]
  p = jnp.where(known, jax.nn.softmax(logits), 0.0)
  y = jax.nn.one_hot(labels, classes)
  both, own = jnp.sum(p * y, axis=(1, 2)), jnp.sum(y, axis=(1, 2))
  there = own > 0
  each = 1 - 2 * both / jnp.where(there, jnp.sum(p, axis=(1, 2)) + own, 1.0)
  shown = jnp.sum(there, axis=1)
  of_image = jnp.sum(jnp.where(there, each, 0.0), axis=1)
  return Sum(
    jnp.sum(of_image / jnp.maximum(shown, 1)),
    jnp.sum(shown > 0, dtype=jnp.float32),
  )


def contrast(
  scores: Float[ArrayLike, "n k"],
  labels: Int[ArrayLike, " n"],
  weights: Float[ArrayLike, " n"],
) -> Sum:
  """-omega log softmax(r)[y]: mean over a class's cells, then over classes.

  Over the cells of all devices with omega > 0; inside a mapped step.

  Args:
    scores: r, of prototypes that are constants.
    labels: y; k and above is not known.
    weights: omega.
  """
  scores, labels = jnp.asarray(scores), jnp.asarray(labels)
  classes = scores.shape[-1]
  weights = jax.lax.stop_gradient(jnp.asarray(weights))
  known = (labels < classes) & (weights > 0)
  safe = jnp.where(known, labels, 0)
  own = jax.nn.one_hot(safe, classes) * known[:, None]
  counts = parallel.psum(jnp.sum(own, axis=0))
  share = jnp.where(counts > 0, 1 / jnp.maximum(counts, 1), 0.0)
  share = jnp.where(known, share[safe], 0.0)
  each = optax.softmax_cross_entropy_with_integer_labels(scores, safe)
  # The shares of all devices add up to the number of classes.
  return Sum(jnp.sum(share * weights * each), jnp.sum(share))


def consistency(
  first: Float[ArrayLike, "*n k"],
  second: Float[ArrayLike, "*n k"],
  valid: Bool[ArrayLike, "*n"],
) -> Sum:
  """(H(q1, q2) + H(q2, q1)) / 2 of q = softmax(r); the first is constant.

  Args:
    first: r of one view of the noise.
    second: r of the other.
    valid: the cells that count.
  """

  def one(target: ArrayLike, found: ArrayLike) -> Array:
    q = jax.lax.stop_gradient(jax.nn.softmax(jnp.asarray(target)))
    return -jnp.sum(q * jax.nn.log_softmax(jnp.asarray(found)), axis=-1)

  each = (one(first, second) + one(second, first)) / 2
  valid = jnp.asarray(valid)
  return Sum(
    jnp.sum(jnp.where(valid, each, 0.0)), jnp.sum(valid, dtype=jnp.float32)
  )


def separation(
  vectors: Float[ArrayLike, "n d"],
  labels: Int[ArrayLike, " n"],
  prototypes: Float[ArrayLike, "k d"],
  margin: float,
) -> Float[Array, ""]:
  """Mean over pairs of classes of max(0, cos(m_c, P_c') - margin), c' not c.

  m_c is the mean of the batch, which has the gradient, and P a constant. Of the
  cells of all devices: a value of the whole batch, inside a mapped step.

  Args:
    vectors: unit vectors.
    labels: their classes; k and above counts nowhere.
    prototypes: P; 0 for a class that has none yet.
    margin: delta.
  """
  fixed = jax.lax.stop_gradient(jnp.asarray(prototypes))
  own = jax.nn.one_hot(jnp.asarray(labels), len(fixed))
  sums = jnp.matmul(own.T, jnp.asarray(vectors), precision=_EXACT)
  # Gathered, not summed: then the gradient of each device is right.
  sums = jnp.sum(parallel.gather(sums[None]), axis=0)
  counts = parallel.psum(jnp.sum(own, axis=0))
  squares = jnp.sum(sums * sums, axis=1, keepdims=True)
  means = sums * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))
  cosines = jnp.matmul(means, fixed.T, precision=_EXACT)
  length = jnp.sum(fixed * fixed, axis=1)
  pairs = (counts > 0)[:, None] & (length > 0)[None]
  pairs &= ~jnp.eye(len(fixed), dtype=bool)
  over = jnp.where(pairs, jnp.maximum(cosines - margin, 0.0), 0.0)
  return jnp.sum(over) / jnp.maximum(jnp.sum(pairs), 1)
