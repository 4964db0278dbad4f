"""Moves arrays to the devices and back: sharded, or a copy on each device."""

from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from protojax.parallel.mapped import AXIS
from protojax.parallel.sharding import (
  LOCAL,
  Sharding,
  from_shards,
  map_axes,
  to_shards,
)
from protojax.types import ArrayLike, Batch, PyTree, UserError


def shard(batch: Batch) -> Batch:
  """Divides this process's rows: `[b, ...] -> [devices, b', ...]`.

  Arrays of several streams may have different numbers of rows.

  Raises:
    UserError: the rows do not divide over the devices.
  """
  devices = jax.local_device_count()

  def divided(x: ArrayLike) -> np.ndarray:
    rows = len(x)
    if rows % devices:
      raise UserError(
        f"batch_size {rows * jax.process_count()} does not divide over"
        f" {jax.device_count()} devices; use a multiple of"
        f" {jax.device_count()}."
      )
    return np.reshape(x, (devices, rows // devices, *np.shape(x)[1:]))

  return jax.tree.map(divided, batch)


def placed(batch: Batch) -> Batch:
  """`shard`, and puts the rows on the devices, for many steps."""
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(_sharding(AXIS), x),
    shard(batch),
  )


def unshard(tree: PyTree) -> PyTree:
  """Brings sharded results to every host: `[devices, b', ...] -> [b, ...]`."""
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), stacked(tree))


def stacked(tree: PyTree) -> PyTree:
  """NumPy copies of sharded arrays, of all processes: `[devices, ...]`."""
  local = jax.device_get(tree)
  if jax.process_count() == 1:
    return local
  return multihost_utils.process_allgather(local, tiled=True)


def to_host(tree: PyTree, sharding: Sharding = LOCAL) -> PyTree:
  """NumPy copies of all arrays, the same in every process.

  Args:
    tree: arrays, local (each device holds all of it) or sharded.
    sharding: names the sharded ones; with any, all processes must call this.
  """

  def take(x: Any, axis: int | None) -> np.ndarray:
    if axis is not None:
      rows = stacked(np.moveaxis(np.asarray(x), axis, 0))
      return from_shards(np.moveaxis(rows, 0, axis), axis)
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
      return np.asarray(x.addressable_data(0))
    return np.asarray(x)

  return map_axes(take, tree, sharding)


def replicate(tree: PyTree) -> PyTree:
  """Puts one copy of every array on every device, for many steps."""
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


def distribute(tree: PyTree, sharding: Sharding) -> PyTree:
  """Puts arrays on the devices: shards of the sharded ones, else copies.

  A step on them is mapped over `axes(tree, sharding)`.
  """

  def put(x: Any, axis: int | None) -> jax.Array:
    return replicate(x) if axis is None else put_shards(x, axis)

  return map_axes(put, tree, sharding)


def put_shards(x: ArrayLike, axis: int) -> jax.Array:
  """Puts an array on the devices, sharded along an axis."""
  shards = to_shards(np.asarray(x), axis, jax.device_count())
  along = _sharding(*[None] * axis, AXIS)
  return jax.make_array_from_callback(shards.shape, along, shards.__getitem__)


def on_each_device(tree: PyTree) -> PyTree:
  """One copy per device, stacked and sharded: `[...] -> [devices, ...]`.

  In the layout of a mapped step's result: with another one the step's second
  call would compile again.
  """
  devices = jax.local_device_count()
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(
      _sharding(AXIS),
      np.broadcast_to(np.asarray(x)[None], (devices, *np.shape(x))),
    ),
    tree,
  )


def _sharding(*axes: str | None) -> jax.sharding.NamedSharding:
  mesh = jax.sharding.Mesh(np.array(jax.devices()), (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
