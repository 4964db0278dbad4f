"""Maps a step over all devices, and exchanges values between them in it."""

from collections.abc import Callable
import functools
from typing import Any

import jax

from protojax.types import PyTree

AXIS = "devices"


def pmap(
  function: Callable[..., Any],
  in_axes: Any,
  out_axes: Any,
  donate: tuple[int, ...] = (),
) -> Callable[..., Any]:
  """Maps a step over all devices; axis None means replicated, else sharded."""
  axes_out, treedef = jax.tree.flatten(out_axes, lambda x: x is None)

  # With several processes axes must be hashable, which a dictionary is not.
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


def pmap_once(
  step: Callable[..., Any],
  in_axes: Any,
  out_axes: Any,
  donate: tuple[int, ...] = (),
) -> Callable[..., Any]:
  """`pmap`, compiled once for a function and its fixed arguments.

  Args:
    step: a module's function, a bound method, or a `functools.partial` of one
      with arguments that can be hashed; equal ones share a program.
    in_axes, out_axes, donate: see `pmap`.
  """
  leaves, tree = jax.tree.flatten((in_axes, out_axes), lambda x: x is None)
  return _compiled(*with_arguments(step), tuple(leaves), tree, donate)


def with_arguments(step: Callable[..., Any]) -> tuple:
  """A function and its fixed arguments, which are equal from call to call."""
  if isinstance(step, functools.partial):
    return step.func, step.args, tuple(sorted(step.keywords.items()))
  return step, (), ()


@functools.lru_cache(maxsize=64)
def _compiled(
  function: Callable[..., Any],
  arguments: tuple,
  keywords: tuple[tuple[str, Any], ...],
  leaves: tuple[int | None, ...],
  tree: Any,
  donate: tuple[int, ...],
) -> Callable[..., Any]:
  step = functools.partial(function, *arguments, **dict(keywords))
  in_axes, out_axes = jax.tree.unflatten(tree, leaves)
  return pmap(step, in_axes, out_axes, donate)


def psum(tree: PyTree) -> PyTree:
  """Sums over devices, inside a mapped step."""
  return _reduced(jax.lax.psum, tree)


def pmean(tree: PyTree) -> PyTree:
  """Averages over devices, inside a mapped step."""
  return _reduced(jax.lax.pmean, tree)


def _reduced(reduce: Callable[[PyTree, str], PyTree], tree: PyTree) -> PyTree:
  # On one device XLA would copy the tree, and later code read the copy.
  return tree if jax.lax.axis_size(AXIS) == 1 else reduce(tree, AXIS)


def gather(tree: PyTree) -> PyTree:
  """Concatenates the devices' slices of a batch, inside a mapped step."""
  return jax.lax.all_gather(tree, AXIS, tiled=True)


def scatter_sum(tree: PyTree) -> PyTree:
  """Sums over devices; each gets its slice: `[b, ...] -> [b', ...]`.

  Inside a mapped step; the transpose of `gather`.
  """
  return jax.lax.psum_scatter(tree, AXIS, tiled=True)


def exchange(x: jax.Array) -> jax.Array:
  """Sends each device the rows of its slice: `[b ...] -> [devices b' ...]`.

  Inside a mapped step. Before, each device has rows of the whole batch; after,
  it has the rows that every device computed for its own slice.
  """
  slices = x.reshape(jax.lax.axis_size(AXIS), -1, *x.shape[1:])
  return jax.lax.all_to_all(slices, AXIS, 0, 0)
