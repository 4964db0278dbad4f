"""Which arrays of a tree are sharded over the devices; the others are local.

A `Sharding` names them: with {"head.weight": 1} every leaf whose path ends in
`head.weight` is sharded along its axis 1: the parameter, and an optimiser's
moments of it. On N devices `[k, p]` is then held as `[k, N, p / N]`, and a
mapped step sees `[k, p / N]`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from protojax.types import ArrayLike, PyTree

Sharding = Mapping[str, int]
LOCAL: Sharding = {}


def axes(tree: PyTree, sharding: Sharding) -> PyTree:
  """The axis along which each leaf is sharded; None for local ones."""
  return map_axes(lambda _, axis: axis, tree, sharding) if sharding else None


def map_axes(
  function: Callable[[Any, int | None], Any], tree: PyTree, sharding: Sharding
) -> PyTree:
  """`function(leaf, axis)` of every leaf; the axis of a local one is None."""

  def call(path: tuple, leaf: Any) -> Any:
    name = "." + jax.tree_util.keystr(path, simple=True, separator=".")
    found = (axis for end, axis in sharding.items() if name.endswith(f".{end}"))
    return function(leaf, next(found, None))

  return jax.tree_util.tree_map_with_path(call, tree)


def to_shards(x: ArrayLike, axis: int, shards: int) -> np.ndarray:
  """`[..., p, ...] -> [..., shards, p / shards, ...]`."""
  shape = np.shape(x)
  inner = shards, shape[axis] // shards
  return np.reshape(x, (*shape[:axis], *inner, *shape[axis + 1 :]))


def from_shards(x: ArrayLike, axis: int) -> np.ndarray:
  """`[..., shards, p / shards, ...] -> [..., p, ...]`."""
  shape = np.shape(x)
  return np.reshape(x, (*shape[:axis], -1, *shape[axis + 2 :]))
