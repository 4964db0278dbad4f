"""Experts: one two-layer MLP for each, applied to the rows sent to it.

Every strategy computes the same function, `Experts, rows, expert -> rows`:
`dense_all` all experts for all rows (the oracle of the tests), `ragged` sorted
rows by `jax.lax.ragged_dot`, `buckets.buckets` sorted rows in buckets, and
`capacity` with the experts spread over the devices.
"""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax import parallel
from protojax.types import Array, ArrayLike

STRATEGIES = ("buckets", "ragged", "dense_all", "capacity")


@struct.dataclass
class Experts:
  """The weights of e experts; typed as Any, since JAX maps over them.

  Attributes:
    up: [e d f].
    up_bias: [e f].
    down: [e f d].
    down_bias: [e d].
  """

  up: Any
  up_bias: Any
  down: Any
  down_bias: Any


@struct.dataclass
class Order:
  """Rows sorted by expert; typed as Any, since JAX maps over them.

  Attributes:
    order: the row at each sorted position, [a].
    place: the sorted position of each row, [a].
    counts: rows of each expert, [e].
    starts: the sorted position of each expert's first row, [e].
    rank: how many rows of the same expert come before each row, [a].
  """

  order: Any
  place: Any
  counts: Any
  starts: Any
  rank: Any


def sorted_by(expert: Int[ArrayLike, " a"], count: int) -> Order:
  """Sorts rows by their expert, and leaves each expert's rows in order.

  Args:
    expert: of each row; `count`: it has none, and comes last.
    count: number of experts.
  """
  expert = jnp.asarray(expert)
  order = jnp.argsort(expert, stable=True)
  place = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
  own = expert[:, None] == jnp.arange(count)[None]
  counts = jnp.sum(own, axis=0, dtype=jnp.int32)
  starts = jnp.cumsum(counts) - counts
  first = jnp.append(starts, jnp.sum(counts))[expert]
  return Order(order, place, counts, starts, place - first)


def gelu(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
  """GELU in its tanh form, as in DiT."""
  return jax.nn.gelu(x, approximate=True)


def dense_all(
  weights: Experts, rows: Float[ArrayLike, "a d"], expert: Int[ArrayLike, " a"]
) -> Float[Array, "a d"]:
  """Every expert for every row; e times the work, for tests.

  Args:
    weights: of e experts.
    rows: inputs.
    expert: of each row; e: none, and the output is 0.
  """
  hidden = jnp.einsum("ad,edf->aef", rows, weights.up)
  hidden = gelu(hidden + weights.up_bias[None])
  every = jnp.einsum("aef,efd->aed", hidden, weights.down)
  every = every + weights.down_bias[None]
  own = jax.nn.one_hot(expert, len(weights.up), dtype=every.dtype)
  return jnp.einsum("ae,aed->ad", own, every)


def ragged(
  weights: Experts, rows: Float[ArrayLike, "a d"], expert: Int[ArrayLike, " a"]
) -> Float[Array, "a d"]:
  """`dense_all` by grouped products of sorted rows, for GPU and TPU."""
  count = len(weights.up)
  found = sorted_by(expert, count)
  own = jnp.asarray(expert)[found.order]
  known = (own < count)[:, None]
  own = jnp.minimum(own, count - 1)
  hidden = jax.lax.ragged_dot(
    jnp.asarray(rows)[found.order], weights.up, found.counts
  )
  hidden = gelu(hidden + weights.up_bias[own])
  out = jax.lax.ragged_dot(hidden, weights.down, found.counts)
  out = jnp.where(known, out + weights.down_bias[own], 0)
  return out[found.place]


def capacity(
  weights: Experts,
  rows: Float[ArrayLike, "a d"],
  expert: Int[ArrayLike, " a"],
  count: int,
  factor: float,
) -> tuple[Float[Array, "a d"], Int[Array, ""]]:
  """Experts of all devices, each with room for a fixed number of rows.

  Inside a mapped step. Each device holds some of the experts, and sends its
  rows to those of the others (GShard, 2006.16668). An expert takes the first
  rows of each device; the output of those beyond its room is 0.

  Args:
    weights: of this device's experts.
    rows: of this device.
    expert: of each row, among those of all devices; `count`: none.
    count: number of experts of all devices.
    factor: an expert's room for one device's rows, as a multiple of their mean
      number.

  Returns:
    The outputs, and how many rows found no room.
  """
  rows, own = jnp.asarray(rows), len(weights.up)
  room = max(1, min(len(rows), round(factor * len(rows) / count)))
  found = sorted_by(expert, count)
  taken = jnp.arange(room)[None]
  full = (taken < found.counts[:, None])[..., None]
  source = jnp.minimum(found.starts[:, None] + taken, len(rows) - 1)
  sent = jnp.where(full, rows[found.order[source]], 0)
  got = parallel.exchange(sent)  # devices own room d
  inner = jnp.moveaxis(got, 0, 1).reshape(own, -1, rows.shape[1])
  out = batched(weights, inner)
  back = jnp.moveaxis(out.reshape(own, -1, room, rows.shape[1]), 1, 0)
  back = parallel.exchange(back.reshape(sent.shape)).reshape(sent.shape)
  known = (jnp.asarray(expert) < count) & (found.rank < room)
  at = jnp.where(known, jnp.asarray(expert) * room + found.rank, 0)
  made = back.reshape(-1, rows.shape[1])[at]
  dropped = jnp.sum(jnp.maximum(found.counts - room, 0), dtype=jnp.int32)
  return jnp.where(known[:, None], made, 0), dropped


def batched(
  weights: Experts, rows: Float[ArrayLike, "e c d"]
) -> Float[Array, "e c d"]:
  """Each expert applied to its own c rows."""
  hidden = jnp.einsum("ecd,edf->ecf", rows, weights.up)
  hidden = gelu(hidden + weights.up_bias[:, None])
  out = jnp.einsum("ecf,efd->ecd", hidden, weights.down)
  return out + weights.down_bias[:, None]
