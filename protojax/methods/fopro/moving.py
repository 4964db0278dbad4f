"""Class prototypes that move with each batch, and their temperatures.

A prototype is the running mean of the projections of a class's clean images. A
class whose images lie close to it gets a low temperature.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.types import ArrayLike

_EXACT = jax.lax.Precision.HIGHEST
_EPSILON = 1e-12  # of a length
# Of a class whose images all lie on its prototype.
_COLDEST = 0.01
# In the authors' formula of the temperature.
_MORE_IMAGES, _NO_IMAGES = 10.0, 1e-7


class Prototypes(NamedTuple):
  """The class prototypes and what an epoch has seen of them.

  Fields are typed as Any: JAX rebuilds the tuple with axes or stacked arrays.

  Attributes:
    vectors: float32 [k, d] of length 1; zeros until they are made.
    counts: clean images of each class in this epoch, [k].
    distances: the sum of their distances to the prototype, [k].
    temperatures: phi, [k].
  """

  vectors: Any
  counts: Any
  distances: Any
  temperatures: Any

  @classmethod
  def empty(
    cls, classes: int, channels: int, temperature: float
  ) -> "Prototypes":
    """Zeros, and the same temperature for all classes."""
    return cls(
      jnp.zeros((classes, channels)),
      jnp.zeros(classes),
      jnp.zeros(classes),
      jnp.full(classes, temperature),
    )


def unit(rows: Float[ArrayLike, "n d"]) -> Float[jax.Array, "n d"]:
  """Rows of length 1; zeros stay."""
  rows = jnp.asarray(rows)
  squares = jnp.sum(rows**2, axis=-1, keepdims=True)
  return rows * jax.lax.rsqrt(jnp.maximum(squares, _EPSILON))


def averaged(
  vectors: Float[ArrayLike, "k d"],
  rows: Float[ArrayLike, "b d"],
  labels: Int[ArrayLike, " b"],
  kept: Bool[ArrayLike, " b"],
  momentum: float,
) -> Float[jax.Array, "k d"]:
  """Moving averages after the rows of a batch, one after the other.

  The authors' loop does c <- m c + (1 - m) z for each clean row of the class,
  in order. In closed form a row that a more of its class follow has the weight
  (1 - m) m**a, and the prototype m**n for n rows.

  Args:
    vectors: of the classes.
    rows: z, in the order of the batch; of all devices.
    labels: their classes.
    kept: False for rows to leave out.
    momentum: m.
  """
  rows, labels = jnp.asarray(rows), jnp.asarray(labels)
  clean = jnp.asarray(kept, jnp.float32)
  same = (labels[:, None] == labels[None]) * clean[None]
  after = jnp.sum(jnp.triu(same, 1), axis=1)
  weight = clean * (1 - momentum) * momentum**after
  own = jax.nn.one_hot(labels, len(jnp.asarray(vectors)))
  counts = jnp.sum(own * clean[:, None], axis=0)
  added = jnp.matmul(own.T, rows * weight[:, None], precision=_EXACT)
  return momentum ** counts[:, None] * jnp.asarray(vectors) + added


def moved(
  prototypes: Prototypes,
  rows: Float[ArrayLike, "b d"],
  labels: Int[ArrayLike, " b"],
  kept: Bool[ArrayLike, " b"],
  momentum: float,
) -> Prototypes:
  """The prototypes after a batch, of length 1 again; and what it has shown.

  Args: see `averaged`.
  """
  before, labels = jnp.asarray(prototypes.vectors), jnp.asarray(labels)
  own = jax.nn.one_hot(labels, len(before))
  own = own * jnp.asarray(kept, jnp.float32)[:, None]
  apart = jnp.sqrt(jnp.sum((jnp.asarray(rows) - before[labels]) ** 2, axis=-1))
  return Prototypes(
    unit(averaged(before, rows, labels, kept, momentum)),
    prototypes.counts + jnp.sum(own, axis=0),
    prototypes.distances + jnp.sum(own * apart[:, None], axis=0),
    prototypes.temperatures,
  )


def cooled(prototypes: Prototypes) -> Prototypes:
  """The prototypes at the end of an epoch, with new temperatures.

  phi = D / (n ln(n + 10)). A class without a clean image keeps its own: the
  authors' code gives it 0, which the next batch divides by.
  """
  n, total = prototypes.counts, prototypes.distances
  found = total / (n * jnp.log(n + _MORE_IMAGES) + _NO_IMAGES)
  found = jnp.maximum(found, _COLDEST)
  nothing = jnp.zeros_like(n)
  return Prototypes(
    prototypes.vectors,
    nothing,
    nothing,
    jnp.where(n > 0, found, prototypes.temperatures),
  )


def cooled_at_end(
  prototypes: Prototypes, step: ArrayLike, steps_per_epoch: int
) -> Prototypes:
  """`cooled` after the last step of an epoch, else the same.

  Args:
    prototypes: after this step.
    step: its number in the stage, from 0.
    steps_per_epoch: of the stage.
  """
  last = (jnp.asarray(step) + 1) % steps_per_epoch == 0
  return jax.tree.map(
    lambda new, old: jnp.where(last, new, old), cooled(prototypes), prototypes
  )
