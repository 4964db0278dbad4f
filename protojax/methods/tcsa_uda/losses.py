"""Losses of labelled pixels: weighted cross entropy, and dice.

As in the authors' code: a class weighs less in the cross entropy the more
pixels of the batch it has, and dice has squares in its denominator and counts
the background.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax import parallel
from protojax.engine.terms import Term
from protojax.types import Array, ArrayLike

VOID = 255
_EPSILON = 1e-5


def class_weights(labels: Int[ArrayLike, "b H W"], classes: int) -> Array:
  """1 - (n_c + 1) / N of each class, over the batch of all devices; constant.

  Args:
    labels: of this device's pixels; `VOID` is not counted.
    classes: k.
  """
  own = jax.nn.one_hot(jnp.asarray(labels), classes)
  counts = jax.lax.stop_gradient(parallel.psum(jnp.sum(own, axis=(0, 1, 2))))
  return 1 - (counts + 1) / jnp.maximum(jnp.sum(counts), 1)


def cross_entropy(
  logits: Float[Array, "b H W k"],
  labels: Int[ArrayLike, "b H W"],
  weights: Float[Array, " k"],
  weight: float,
) -> Term:
  """The mean of pixels by the weights of their classes.

  Args:
    logits: of the pixels.
    labels: `VOID` is left out.
    weights: of the classes.
    weight: of the term.
  """
  labels = jnp.asarray(labels)
  known = labels != VOID
  chosen = jnp.where(known, labels, 0)
  log = jax.nn.log_softmax(logits, axis=-1)
  own = jnp.take_along_axis(log, chosen[..., None], axis=-1)[..., 0]
  each = jnp.where(known, weights[chosen], 0)
  return Term(-jnp.sum(each * own), jnp.sum(each), weight)


def dice(
  logits: Float[Array, "b H W k"],
  labels: Int[ArrayLike, "b H W"],
  weight: float,
) -> Term:
  """1 - 2 sum(p y) / (sum(p^2) + sum(y^2)), the mean of images and classes.

  Args:
    logits: of the pixels.
    labels: `VOID` is left out.
    weight: of the term.
  """
  labels = jnp.asarray(labels)
  known = (labels != VOID)[..., None]
  p = jnp.where(known, jax.nn.softmax(logits, axis=-1), 0)
  y = jax.nn.one_hot(labels, logits.shape[-1])
  both = jnp.sum(p * y, axis=(1, 2))
  sizes = jnp.sum(p**2 + y**2, axis=(1, 2))
  each = 1 - jnp.mean(2 * both / (sizes + _EPSILON), axis=-1)
  return Term(jnp.sum(each), len(each), weight)
