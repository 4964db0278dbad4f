"""What training remembers from step to step: `State.memory`.

Queues and class means see each batch: a loss updates them from the rows of all
devices, so that replicas stay equal, and returns them in `Aux.memory`. Averaged
parameters are moved by `Fit.after_step`, after the update.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax import parallel
from protojax.types import ArrayLike, PyTree


def ema(average: PyTree, now: PyTree, decay: float) -> PyTree:
  """The exponential moving average: decay * average + (1 - decay) * now.

  Args:
    average: a tree, such as an earlier copy of parameters.
    now: a tree like it.
    decay: the share of the average that stays, between 0 and 1.
  """
  return jax.tree.map(lambda a, x: a + (1 - decay) * (x - a), average, now)


class Queue(NamedTuple):
  """The newest rows, in a ring.

  Attributes:
    rows: [q ...]; those never written are zeros.
    filled: whether each row was written, [q].
    place: where the next row goes, int32.
  """

  rows: Float[ArrayLike, "q ..."]
  filled: Bool[ArrayLike, " q"]
  place: Int[ArrayLike, ""]

  @classmethod
  def empty(cls, size: int, *shape: int) -> "Queue":
    """A queue of `size` rows of a shape."""
    return cls(
      jnp.zeros((size, *shape)), jnp.zeros(size, bool), jnp.zeros((), jnp.int32)
    )


def enqueue(
  queue: Queue,
  rows: Float[ArrayLike, "b ..."],
  valid: Bool[ArrayLike, " b"] | None = None,
) -> Queue:
  """The queue after the rows of all devices took the place of the oldest.

  Inside a mapped step. The gradient does not go through a queue.

  Args:
    queue: as it was.
    rows: of this device's examples.
    valid: False for rows to leave out; None: all count.

  Raises:
    ValueError: the batch has more rows than the queue.
  """
  rows = jax.lax.stop_gradient(jnp.asarray(rows))
  valid = jnp.ones(len(rows), bool) if valid is None else jnp.asarray(valid)
  rows, valid = parallel.gather((rows, valid))
  size = len(queue.filled)
  if len(rows) > size:
    raise ValueError(f"{len(rows)} rows do not fit into a queue of {size}")
  order = jnp.cumsum(valid) - 1
  # Rows that are left out go to a place that there is not.
  place = jnp.where(valid, (queue.place + order) % size, size)
  return Queue(
    jnp.asarray(queue.rows).at[place].set(rows, mode="drop"),
    jnp.asarray(queue.filled).at[place].set(True, mode="drop"),
    (queue.place + jnp.sum(valid, dtype=jnp.int32)) % size,
  )


def class_means(
  means: Float[ArrayLike, "k d"],
  rows: Float[ArrayLike, "b d"],
  labels: Int[ArrayLike, " b"],
  decay: float,
) -> Float[jax.Array, "k d"]:
  """Running means by class, moved by the rows of all devices.

  A class without a row in the batch keeps its mean. Inside a mapped step. The
  gradient does not go through means.

  Args:
    means: as they were.
    rows: of this device's examples.
    labels: their classes; -1 is left out.
    decay: the share of a mean that stays, between 0 and 1.
  """
  means = jnp.asarray(means)
  own = jax.nn.one_hot(jnp.asarray(labels), len(means), dtype=means.dtype)
  rows = jax.lax.stop_gradient(jnp.asarray(rows))
  sums = jnp.matmul(own.T, rows, precision=jax.lax.Precision.HIGHEST)
  sums, counts = parallel.psum((sums, jnp.sum(own, axis=0)))
  found = sums / jnp.maximum(counts, 1)[:, None]
  return jnp.where(counts[:, None] > 0, ema(means, found, decay), means)
