"""Devices and processes: the only package that names them.

A step function is written for one device's slice of a batch; `pmap` maps it
over all devices, `Sweep` and `fold` run it over a stream of batches with one
carry per device, and `psum`/`gather` are how the slices hear of each other.
"""

from collections.abc import Callable, Iterable, Iterator
import functools
import os
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from protojax.parallel import heap
from protojax.parallel.keys import example_keys, init_key, key  # noqa: F401
from protojax.parallel.processes import (  # noqa: F401
  any_process,
  is_primary,
  join,
  process_index_count,
  say,
)
from protojax.parallel.sharding import (
  WHOLE,
  Split,
  axes,
  joined,
  map_axes,
  parted,
)
from protojax.types import ArrayLike, Batch, PyTree, UserError

AXIS = "devices"

# Dense convolutions reach the matrix unit's speed on CPU with this flag (two
# to ten times faster). An unknown flag aborts the process, so it is given
# only to the jaxlib releases that were tried.
_FAST_CPU = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT"
_FAST_CPU_RELEASES = ("0.10.", "0.11.", "0.12.")

# What a batch holds that nobody wants back from the devices.
_PIXELS = ("image", "copies")


def setup(distributed: bool = False) -> None:
  """Prepares JAX; to be called before anything else touches a device.

  Compiled programs are kept in the user's cache folder, so that the second
  start of a run compiles nothing.

  Args:
    distributed: join the other processes of this run through
      `jax.distributed`, which reads a TPU pod's, SLURM's or Open MPI's
      environment, or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
      JAX_PROCESS_ID.

  Raises:
    UserError: there are no other processes to join.
  """
  release = jax.lib.__version__
  if "XLA_FLAGS" not in os.environ and release.startswith(_FAST_CPU_RELEASES):
    os.environ["XLA_FLAGS"] = _FAST_CPU
  heap.keep()
  # JAX adds its options to the config as attributes while it is imported.
  # pyrefly: ignore[missing-attribute]
  if jax.config.jax_compilation_cache_dir is None:
    cache = cache_dir() / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
  if distributed and not jax.distributed.is_initialized():
    join()


def cache_dir() -> Path:
  """The user's cache folder for what can be made again."""
  base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
  return Path(base) / "protojax"


def device_count() -> int:
  """Devices of all processes together."""
  return jax.device_count()


def whole_batch(size: int) -> int:
  """The smallest batch of at least `size` that divides over the devices."""
  return -(-size // jax.device_count()) * jax.device_count()


def describe() -> str:
  """Says in words what the run computes on, e.g. `2 x cpu`."""
  return f"{jax.device_count()} x {jax.devices()[0].device_kind.lower()}"


def pmap(
  function: Callable[..., Any],
  in_axes: Any,
  out_axes: Any,
  donate: tuple[int, ...] = (),
) -> Callable[..., Any]:
  """Maps a step over all devices; axis None means replicated, else sharded."""
  axes_out, treedef = jax.tree.flatten(out_axes, lambda x: x is None)

  # Several processes need axes that can be hashed, and a dictionary cannot.
  def flat(*inputs: Any) -> tuple:
    return tuple(treedef.flatten_up_to(function(*inputs)))

  mapped = jax.pmap(
    flat,
    axis_name=AXIS,
    in_axes=in_axes,
    out_axes=tuple(axes_out),
    donate_argnums=donate,
  )

  @functools.wraps(mapped)  # with its `lower`
  def call(*inputs: Any) -> Any:
    return treedef.unflatten(mapped(*inputs))

  return call


def psum(tree: PyTree) -> PyTree:
  """Sums over devices, inside a mapped step."""
  return _reduced(jax.lax.psum, tree)


def pmean(tree: PyTree) -> PyTree:
  """Averages over devices, inside a mapped step."""
  return _reduced(jax.lax.pmean, tree)


def _reduced(reduce: Callable[[PyTree, str], PyTree], tree: PyTree) -> PyTree:
  # Of one device, XLA would copy all, and what follows would read the copy.
  return tree if jax.lax.axis_size(AXIS) == 1 else reduce(tree, AXIS)


def gather(tree: PyTree) -> PyTree:
  """Concatenates the devices' slices of a batch, inside a mapped step."""
  return jax.lax.all_gather(tree, AXIS, tiled=True)


def scatter_sum(tree: PyTree) -> PyTree:
  """Sums over devices, of which each gets its slice: `[b, ...] -> [b', ...]`.

  Inside a mapped step, as `gather` is, whose transpose it is.
  """
  return jax.lax.psum_scatter(tree, AXIS, tiled=True)


def exchange(x: jax.Array) -> jax.Array:
  """What each device found for this one's slice: `[b ...] -> [devices b' ...]`.

  Inside a mapped step, where each has found something for a whole batch.
  """
  slices = x.reshape(jax.lax.axis_size(AXIS), -1, *x.shape[1:])
  return jax.lax.all_to_all(slices, AXIS, 0, 0)


def shard(batch: Batch) -> Batch:
  """Splits this process's rows of a batch: `[b, ...] -> [devices, b', ...]`.

  Raises:
    UserError: the rows do not divide over the devices.
  """
  devices = jax.local_device_count()
  rows = len(next(iter(jax.tree.leaves(batch))))
  if rows % devices:
    total = rows * jax.process_count()
    raise UserError(
      f"batch_size {total} does not divide over {jax.device_count()}"
      f" devices; use a multiple of {jax.device_count()}."
    )
  return jax.tree.map(
    lambda x: np.reshape(x, (devices, rows // devices, *np.shape(x)[1:])), batch
  )


def placed(batch: Batch) -> Batch:
  """`shard`, with the rows left on the devices, for many steps."""
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(_sharding(AXIS), x),
    shard(batch),
  )


def unshard(tree: PyTree) -> PyTree:
  """Brings sharded results to every host: `[devices, b', ...] -> [b, ...]`."""
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), _stacked(tree))


def _stacked(tree: PyTree) -> PyTree:
  """NumPy copies of sharded arrays, of all processes: `[devices, ...]`."""
  local = jax.device_get(tree)
  if jax.process_count() == 1:
    return local
  return multihost_utils.process_allgather(local, tiled=True)


def to_host(tree: PyTree, split: Split = WHOLE) -> PyTree:
  """NumPy copies of whole arrays, as every process gets them.

  Args:
    tree: arrays that every device holds whole, but for those that are split.
    split: names these; then all processes must call it.
  """

  def take(x: Any, axis: int | None) -> np.ndarray:
    if axis is not None:
      stacked = _stacked(np.moveaxis(np.asarray(x), axis, 0))
      return joined(np.moveaxis(stacked, 0, axis), axis)
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
      return np.asarray(x.addressable_data(0))
    return np.asarray(x)

  return map_axes(take, tree, split)


def replicate(tree: PyTree) -> PyTree:
  """Puts one copy of every array on every device, once, for many steps."""
  everywhere = _sharding()

  def put(x: Any) -> jax.Array:
    if isinstance(x, jax.Array) and x.sharding == everywhere:
      return x
    if jax.process_count() == 1:
      return jax.device_put(x, everywhere)
    host = np.asarray(x)
    return jax.make_array_from_callback(
      host.shape, everywhere, lambda index: host[index]
    )

  return jax.tree.map(put, tree)


def distribute(tree: PyTree, split: Split) -> PyTree:
  """Puts arrays on the devices: parts of those that are split, else copies.

  A step is then mapped over `axes(tree, split)`.
  """

  def put(x: Any, axis: int | None) -> jax.Array:
    return replicate(x) if axis is None else _put_parts(x, axis)

  return map_axes(put, tree, split)


def _put_parts(x: ArrayLike, axis: int) -> jax.Array:
  parts = parted(np.asarray(x), axis, jax.device_count())
  along = _sharding(*[None] * axis, AXIS)
  return jax.make_array_from_callback(parts.shape, along, parts.__getitem__)


def _sharding(*axes: str | None) -> jax.sharding.NamedSharding:
  mesh = jax.sharding.Mesh(np.array(jax.devices()), (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))


def _on_each_device(tree: PyTree) -> PyTree:
  """One copy per device, stacked and split: `[...] -> [devices, ...]`.

  Laid out as a mapped step returns it, or else its second call would be
  compiled again.
  """
  devices = jax.local_device_count()
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(
      _sharding(AXIS),
      np.broadcast_to(np.asarray(x)[None], (devices, *np.shape(x))),
    ),
    tree,
  )


class Sweep:
  """One pass over batches: a carry on each device, rows out of each batch.

  `step(state, carry, batch) -> (carry, rows)` must be the same function
  object from sweep to sweep (a module's function, a bound method, a cached
  closure), since it is compiled once per object.

  Where some of the state is split, so is the carry, along its axis 0: a step
  then takes in for its part what it gathers of the batch of all devices.
  """

  def __init__(
    self,
    step: Callable[..., tuple[PyTree, PyTree]],
    state: PyTree,
    carry: PyTree,
    split: Split = WHOLE,
  ) -> None:
    self._split = split
    # Flat, since it has to be hashable.
    state_axes = jax.tree.flatten(axes(state, split), lambda x: x is None)
    self._step = _mapped(step, tuple(state_axes[0]), state_axes[1])
    self._state = distribute(state, split)
    # Every call writes over the carry: the caller's buffers stay his.
    carry = jax.tree.map(np.array, to_host(carry))
    if split:
      self._carry = jax.tree.map(lambda x: _put_parts(x, 0), carry)
    else:
      self._carry = _on_each_device(carry)

  def __call__(self, batch: Batch) -> PyTree:
    """Takes one batch in; returns its rows, still sharded, on the devices."""
    self._carry, rows = self._step(self._state, self._carry, shard(batch))
    return rows

  def rows(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, PyTree]]:
    """Yields each batch, without its images, with its rows on the host.

    Both are of the whole batch, whichever process read it. The next batch is
    sent to the devices before the last one's rows are fetched, so that reading
    and computing overlap.
    """
    last = None
    for batch in batches:
      named = {name: x for name, x in batch.items() if name not in _PIXELS}
      sent = named, self(batch)
      if last is not None:
        yield _whole(last[0]), unshard(last[1])
      last = sent
    if last is not None:
      yield _whole(last[0]), unshard(last[1])

  def carry(self) -> PyTree:
    """The carries of all devices, stacked, as NumPy: `[devices, ...]`.

    A carry that is split is whole again, and the only one: `[1, ...]`.
    """
    if self._split:
      return jax.tree.map(lambda x: x[None], unshard(self._carry))
    return _stacked(self._carry)


def _whole(batch: Batch) -> Batch:
  if jax.process_count() == 1:
    return batch
  return multihost_utils.process_allgather(batch, tiled=True)


@functools.lru_cache(maxsize=64)
def _mapped(
  step: Callable[..., Any], state_axes: tuple[int | None, ...], treedef: Any
) -> Callable[..., Any]:
  in_axes = jax.tree.unflatten(treedef, state_axes), 0, 0
  return pmap(step, in_axes, out_axes=0, donate=(1,))


def fold(
  step: Callable[[PyTree, PyTree, Batch], PyTree],
  state: PyTree,
  carry: PyTree,
  batches: Iterable[Batch],
  split: Split = WHOLE,
) -> PyTree:
  """Folds `step(state, carry, batch) -> carry` over batches.

  Returns:
    The carries of all devices: see `Sweep.carry`.
  """
  sweep = Sweep(_without_rows(step), state, carry, split)
  for batch in batches:
    sweep(batch)
  return sweep.carry()


@functools.lru_cache(maxsize=64)
def _without_rows(step: Callable[..., PyTree]) -> Callable[..., Any]:
  return lambda state, carry, batch: (step(state, carry, batch), ())


def each(
  function: Callable[[PyTree, Batch], PyTree],
  state: PyTree,
  batches: Iterable[Batch],
) -> Iterator[tuple[Batch, PyTree]]:
  """Yields every batch with the host rows of `function(state, batch)`."""
  yield from Sweep(_without_carry(function), state, ()).rows(batches)


@functools.lru_cache(maxsize=64)
def _without_carry(function: Callable[..., PyTree]) -> Callable[..., Any]:
  return lambda state, carry, batch: (carry, function(state, batch))
