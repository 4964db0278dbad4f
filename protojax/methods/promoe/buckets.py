"""Buckets: sorted rows in blocks of static size, dropless, for CPU.

Rows are put into blocks of C rows, and each block is multiplied by the weights
of one expert. Of a few static plans, `lax.switch` takes the first that holds
all rows: one block of C rows for each expert, where the load is near to equal,
and else as many blocks for an expert as its rows need. The work of the last
plan has a bound whatever the load. Forward and backward choose by a custom VJP:
autodiff of a switch would keep the intermediates of every branch.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.methods.promoe.experts import Experts, Order, gelu, sorted_by
from protojax.types import Array, ArrayLike

# Rows of a block, as multiples of the mean load, with one block an expert.
_EVEN = (1.3, 1.7)
# Rows of a block where an expert may have several.
_SPLIT = 1.0


class Plan(NamedTuple):
  """A static layout.

  Attributes:
    room: rows of a block.
    blocks: their number; that of the experts, if each has one.
  """

  room: int
  blocks: int


def plans(rows: int, experts: int) -> tuple[Plan, ...]:
  """The layouts to choose from; the last one holds any load."""
  mean = rows / experts
  even = [
    Plan(math.ceil(share * mean), experts)
    for share in _EVEN
    if math.ceil(share * mean) < rows
  ]
  room = max(1, math.ceil(_SPLIT * mean))
  # ceil(count / room) of all experts: fewer than one more each than in sum.
  return *even, Plan(room, experts + rows // room)


class _Layout(NamedTuple):
  """Where rows lie in the blocks of a plan.

  Attributes:
    source: the row in each place, [s c].
    full: whether there is one, [s c].
    place: of each row, [a], in blocks that are joined.
    of: the expert of each block, [s]; None: block i is of expert i.
  """

  source: Any
  full: Any
  place: Any
  of: Any


def _layout(plan: Plan, found: Order, expert: Array) -> _Layout:
  experts = len(found.counts)
  known = jnp.minimum(expert, experts - 1)
  within = jnp.arange(plan.room)[None]
  if plan.blocks == experts:
    of, start, left = None, found.starts, found.counts
    place = known * plan.room + found.rank
  else:
    blocks = -(-found.counts // plan.room)
    first = jnp.cumsum(blocks) - blocks
    number = jnp.arange(plan.blocks)
    of = jnp.searchsorted(jnp.cumsum(blocks), number, side="right")
    of = jnp.minimum(of, experts - 1)
    before = (number - first[of]) * plan.room
    start, left = found.starts[of] + before, found.counts[of] - before
    place = first[known] * plan.room + found.rank
  source = jnp.minimum(start[:, None] + within, len(expert) - 1)
  full = within < left[:, None]
  # A row without an expert reads any place: its output is set to 0.
  place = jnp.where(expert < experts, place, 0)
  return _Layout(found.order[source], full, place, of)


def _put(layout: _Layout, rows: Array) -> Array:
  return jnp.where(layout.full[..., None], rows[layout.source], 0)


def _taken(layout: _Layout, blocks: Array) -> Array:
  return blocks.reshape(-1, blocks.shape[-1])[layout.place]


def _of_blocks(weights: Experts, layout: _Layout) -> Experts:
  if layout.of is None:
    return weights
  return jax.tree.map(lambda x: x[layout.of], weights)


def _forward(plan: Plan, keep: bool, weights, rows, expert, found):
  layout = _layout(plan, found, expert)
  own = _of_blocks(weights, layout)
  before = jnp.einsum("scd,sdf->scf", _put(layout, rows), own.up)
  before = before + own.up_bias[:, None]
  out = jnp.einsum("scf,sfd->scd", gelu(before), own.down)
  out = _taken(layout, out + own.down_bias[:, None])
  return (out, _taken(layout, before)) if keep else out


def _backward(plan: Plan, weights, rows, expert, found, before, cotangent):
  layout = _layout(plan, found, expert)
  own = _of_blocks(weights, layout)
  rows, back = _put(layout, rows), _put(layout, cotangent)
  hidden, slope = jax.vjp(gelu, _put(layout, before))
  (inner,) = slope(jnp.einsum("scd,sfd->scf", back, own.down))
  moved = Experts(
    jnp.einsum("scd,scf->sdf", rows, inner),
    jnp.sum(inner, axis=1),
    jnp.einsum("scf,scd->sfd", hidden, back),
    jnp.sum(back, axis=1),
  )
  if layout.of is not None:
    moved = jax.tree.map(
      lambda x: jax.ops.segment_sum(
        x, layout.of, len(found.counts), indices_are_sorted=True
      ),
      moved,
    )
  return moved, _taken(layout, jnp.einsum("scf,sdf->scd", inner, own.up))


def _chosen(every: tuple[Plan, ...], found: Order) -> Array:
  fullest = jnp.max(found.counts)
  rooms = jnp.array([plan.room for plan in every[:-1]], jnp.int32)
  return jnp.sum(fullest > rooms, dtype=jnp.int32)


def _switch(function, rows, found: Order, *operands):
  every = plans(len(rows), len(found.counts))
  branches = [functools.partial(function, plan) for plan in every]
  return jax.lax.switch(_chosen(every, found), branches, *operands)


@jax.custom_vjp
def buckets(
  weights: Experts, rows: Float[ArrayLike, "a d"], expert: Int[ArrayLike, " a"]
) -> Float[Array, "a d"]:
  """`experts.dense_all` by products of blocks.

  Args:
    weights: of e experts.
    rows: inputs.
    expert: of each row; e: none, and the output is 0.
  """
  found = sorted_by(expert, len(weights.up))
  out = _switch(
    lambda plan, *x: _forward(plan, False, *x),
    rows,
    found,
    weights,
    rows,
    expert,
    found,
  )
  return _known(weights, expert, out)


def _known(weights: Experts, expert: ArrayLike, rows: Array) -> Array:
  return jnp.where((expert < len(weights.up))[:, None], rows, 0)


def _keeping(weights, rows, expert):
  found = sorted_by(expert, len(weights.up))
  out, before = _switch(
    lambda plan, *x: _forward(plan, True, *x),
    rows,
    found,
    weights,
    rows,
    expert,
    found,
  )
  return _known(weights, expert, out), (weights, rows, expert, found, before)


def _returning(kept, cotangent):
  weights, rows, expert, found, before = kept
  moved, back = _switch(
    _backward, rows, found, weights, rows, expert, found, before, cotangent
  )
  none = np.zeros(expert.shape, jax.dtypes.float0)
  return moved, _known(weights, expert, back), none


buckets.defvjp(_keeping, _returning)
