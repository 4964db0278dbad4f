"""Runs a step over a stream of batches, on all devices."""

from collections.abc import (
  Callable,
  Collection,
  Iterable,
  Iterator,
  Mapping,
  Sequence,
)
import functools
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jaxtyping import Array
import numpy as np

from protojax.parallel import arrays
from protojax.parallel.mapped import pmap_once, with_arguments
from protojax.parallel.sharding import LOCAL, Sharding, axes
from protojax.types import Batch, PyTree

# Entries of a batch with as many axes are pixels: images, grids, masks of
# instances, maps of features.
_PIXELS = 4


class Sweep:
  """One pass over batches: a carry on each device, rows out of each batch.

  `step(state, carry, batch) -> (carry, rows)` is a module's function, a bound
  method, or a `functools.partial` of one with arguments that can be hashed. It
  is compiled once for these, however many sweeps there are.

  If the state has sharded arrays, the carry is sharded along its axis 0: a
  step then gathers the batch of all devices and updates its own shard.
  """

  def __init__(
    self,
    step: Callable[..., tuple[PyTree, PyTree]],
    state: PyTree,
    carry: PyTree,
    sharding: Sharding = LOCAL,
  ) -> None:
    self._state_sharding = sharding
    in_axes = axes(state, sharding), 0, 0
    self._step = pmap_once(step, in_axes, out_axes=0, donate=(1,))
    self._state = arrays.distribute(state, sharding)
    # Copied, since every call overwrites the carry.
    carry = jax.tree.map(np.array, arrays.to_host(carry))
    if sharding:
      self._carry = jax.tree.map(lambda x: arrays.put_shards(x, 0), carry)
    else:
      self._carry = arrays.on_each_device(carry)

  def __call__(self, batch: Batch) -> PyTree:
    """Runs the step on a batch; returns its rows, sharded on the devices."""
    self._carry, rows = self._step(
      self._state, self._carry, arrays.shard(batch)
    )
    return rows

  def rows(
    self, batches: Iterable[Batch], keep: Collection[str] = ()
  ) -> Iterator[tuple[Batch, PyTree]]:
    """Yields each batch without its pixels, and its rows, on the host.

    Both hold the examples of all processes. The next batch is sent to the
    devices before the rows of the last one are fetched, so that reading and
    computing overlap.

    Args:
      batches: of this process.
      keep: names of entries that are wanted although they are pixels: those
        with an array of four axes or more, such as images and masks.
    """
    last = None
    for batch in batches:
      named = {
        name: x
        for name, x in batch.items()
        if name in keep or not _are_pixels(x)
      }
      sent = named, self(batch)
      if last is not None:
        yield _whole(last[0]), arrays.unshard(last[1])
      last = sent
    if last is not None:
      yield _whole(last[0]), arrays.unshard(last[1])

  def carry(self) -> PyTree:
    """The carries of all devices, stacked, as NumPy: `[devices, ...]`.

    The shards of a sharded carry are joined: `[1, ...]`.
    """
    if self._state_sharding:
      return jax.tree.map(lambda x: x[None], arrays.unshard(self._carry))
    return arrays.stacked(self._carry)


def fold(
  step: Callable[[PyTree, PyTree, Batch], PyTree],
  state: PyTree,
  carry: PyTree,
  batches: Iterable[Batch],
  sharding: Sharding = LOCAL,
) -> PyTree:
  """Folds `step(state, carry, batch) -> carry` over batches.

  Returns:
    The carries of all devices: see `Sweep.carry`.
  """
  sweep = Sweep(_fixed(_without_rows, step), state, carry, sharding)
  for batch in batches:
    sweep(batch)
  return sweep.carry()


def summed(
  function: Callable[[PyTree, Batch], Mapping[str, Array]],
  state: PyTree,
  batches: Iterable[Batch],
  names: Sequence[str],
) -> dict[str, float]:
  """Sums of rows over the examples that are no padding; see `each`.

  Returns:
    The sum of each of some rows [b]; and "count", the number of examples.
  """
  nothing = dict.fromkeys((*names, "count"), np.float32(0))
  add = functools.partial(_add, function)
  found = fold(add, state, nothing, batches)
  return {name: float(np.sum(x)) for name, x in found.items()}


def each(
  function: Callable[[PyTree, Batch], PyTree],
  state: PyTree,
  batches: Iterable[Batch],
  keep: Collection[str] = (),
) -> Iterator[tuple[Batch, PyTree]]:
  """Yields every batch with its rows, `function(state, batch)`, on the host.

  The batch has no pixels but those to `keep`: see `Sweep.rows`.
  """
  sweep = Sweep(_fixed(_without_carry, function), state, ())
  yield from sweep.rows(batches, keep)


def _are_pixels(entry: PyTree) -> bool:
  return any(np.ndim(x) >= _PIXELS for x in jax.tree.leaves(entry))


def _whole(batch: Batch) -> Batch:
  if jax.process_count() == 1:
    return batch
  return multihost_utils.process_allgather(batch, tiled=True)


def _fixed(adapter: Callable[..., Any], step: Callable[..., Any]) -> Any:
  function, arguments, keywords = with_arguments(step)
  return functools.partial(adapter, function, arguments, keywords)


def _add(
  function: Callable[[PyTree, Batch], Mapping[str, Array]],
  state: PyTree,
  carry: dict[str, Array],
  batch: Batch,
) -> dict[str, Array]:
  valid = jnp.asarray(batch["valid"])
  rows = {**function(state, batch), "count": jnp.ones(valid.shape)}
  return {
    name: total + jnp.sum(jnp.where(valid, rows[name], 0))
    for name, total in carry.items()
  }


def _without_rows(
  function: Callable[..., PyTree],
  arguments: tuple,
  keywords: tuple,
  state: PyTree,
  carry: PyTree,
  batch: Batch,
) -> tuple[PyTree, tuple]:
  return function(*arguments, state, carry, batch, **dict(keywords)), ()


def _without_carry(
  function: Callable[..., PyTree],
  arguments: tuple,
  keywords: tuple,
  state: PyTree,
  carry: PyTree,
  batch: Batch,
) -> tuple[PyTree, PyTree]:
  return carry, function(*arguments, state, batch, **dict(keywords))
