"""Low-rank adapters of linear layers, and the directions that they may use.

A layer with the kernel W_0 [in out] and adapters s = 1, 2, ... computes with

  W = W_0 + sum_s D_s^T diag(sigma_s) U_s

where D_s [r in] reads r directions of the input and U_s [r out] writes r
directions of the output. Adapters of later tasks can be kept orthogonal to all
that was learned before: exactly, by a projection (`outside`), or by their
gradient alone (`surgery`).
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.types import ArrayLike

_EXACT = jax.lax.Precision.HIGHEST
# Singular values below this share of the largest are rounding.
_ROUNDING = 1e-5


class Adapter(NamedTuple):
  """One adapter of rank r.

  Attributes:
    down: D, directions of the input.
    scale: sigma.
    up: U, directions of the output, one in each row.
  """

  down: Float[ArrayLike, "r in"]
  scale: Float[ArrayLike, " r"]
  up: Float[ArrayLike, "r out"]


class Bases(NamedTuple):
  """Orthonormal columns that span what was learned; columns of 0 are unused.

  Attributes:
    inputs: directions of the input.
    outputs: directions of the output.
  """

  inputs: Float[ArrayLike, "in c"]
  outputs: Float[ArrayLike, "out c"]


def create(key: jax.Array, inputs: int, outputs: int, rank: int) -> Adapter:
  """A random D of deviation 1 / r, sigma = 1, and U = 0: it changes nothing."""
  return unused(jax.random.normal(key, (rank, inputs)) / rank, outputs)


def unused(down: Float[ArrayLike, "r in"], outputs: int) -> Adapter:
  """An adapter with some D, sigma = 1 and U = 0."""
  rank = len(jnp.asarray(down))
  return Adapter(down, jnp.ones(rank), jnp.zeros((rank, outputs)))


def change(adapter: Adapter) -> Float[jax.Array, "in out"]:
  """What an adapter adds to the kernel."""
  up = jnp.asarray(adapter.scale)[:, None] * adapter.up
  return jnp.matmul(jnp.asarray(adapter.down).T, up, precision=_EXACT)


def merged(
  kernel: Float[ArrayLike, "in out"], adapters: Iterable[Adapter]
) -> Float[jax.Array, "in out"]:
  """The kernel that computes the same as the layer with its adapters."""
  return sum(map(change, adapters), jnp.asarray(kernel))


def outside(
  rows: Float[ArrayLike, "r d"], basis: Float[ArrayLike, "d c"]
) -> Float[jax.Array, "r d"]:
  """Rows without their part in the span of an orthonormal basis."""
  rows, basis = jnp.asarray(rows), jnp.asarray(basis)
  within = jnp.matmul(rows, basis, precision=_EXACT)
  return rows - jnp.matmul(within, basis.T, precision=_EXACT)


def projected(adapter: Adapter, bases: Bases) -> Adapter:
  """The adapter in directions of which nothing was learned before."""
  return adapter._replace(
    down=outside(adapter.down, bases.inputs),
    up=outside(adapter.up, bases.outputs),
  )


def surgery(
  rows: Float[ArrayLike, "r d"], learned: Float[ArrayLike, "c d"]
) -> Float[jax.Array, "r d"]:
  """The rows as they are; their gradient g becomes g - g L^T L.

  `learned` L need not be orthonormal, and then this is no projection: so it is
  in the authors' code.
  """
  rows = jnp.asarray(rows)
  fixed = jax.lax.stop_gradient(jnp.asarray(learned))
  off = rows - jnp.matmul(
    jnp.matmul(rows, fixed.T, precision=_EXACT), fixed, precision=_EXACT
  )
  return off + jax.lax.stop_gradient(rows - off)


def orthonormality(adapter: Adapter) -> Float[jax.Array, ""]:
  """(|D D^T - I|^2 + |U U^T - I|^2) / r^2; 0 if the rows are orthonormal."""
  identity = jnp.eye(len(jnp.asarray(adapter.scale)))

  def off(rows: ArrayLike) -> jax.Array:
    rows = jnp.asarray(rows)
    return jnp.sum((jnp.matmul(rows, rows.T, precision=_EXACT) - identity) ** 2)

  return (off(adapter.down) + off(adapter.up)) / len(identity) ** 2


def truncated(
  kernel: Float[ArrayLike, "in out"], energy: float
) -> Float[np.ndarray, "in out"]:
  """The product of lowest rank that holds more than a share of the energy.

  Args:
    kernel: of a layer.
    energy: of the squared singular values, such as 0.99.
  """
  left, values, right = np.linalg.svd(np.asarray(kernel), full_matrices=False)
  shares = np.cumsum(values.astype(np.float64) ** 2)
  kept = int(np.sum(shares / shares[-1] <= energy)) + 1
  return (left[:, :kept] * values[:kept]) @ right[:kept]


def bases(
  kernel: Float[ArrayLike, "in out"],
  adapters: Iterable[Adapter],
  protect: bool,
  columns: int,
) -> Bases:
  """Bases of what a layer has learned, on the host.

  Args:
    kernel: of the layer.
    adapters: of the tasks before.
    protect: the directions of the kernel are among what was learned.
    columns: of each basis, at most as many as the directions that there are.
  """
  adapters = list(adapters)
  inputs = [np.asarray(a.down) for a in adapters]
  outputs = [np.asarray(a.up) for a in adapters]
  kernel = np.asarray(kernel)
  if protect:
    left, values, right = np.linalg.svd(kernel, full_matrices=False)
    seen = values > _ROUNDING * values[0]
    inputs.append(left.T[seen])
    outputs.append(right[seen])
  wide, high = kernel.shape
  return Bases(_basis(inputs, columns, wide), _basis(outputs, columns, high))


def empty_bases(inputs: int, outputs: int, columns: int) -> Bases:
  """Bases of nothing, in the shapes of `bases`."""
  return Bases(*(jnp.zeros((d, min(columns, d))) for d in (inputs, outputs)))


def _basis(
  rows: list[np.ndarray], columns: int, length: int
) -> Float[np.ndarray, "d c"]:
  columns = min(columns, length)
  found = np.zeros((length, columns), np.float32)
  if rows:
    stack = np.concatenate(rows).astype(np.float64)
    # Each direction counts alike, however long its row is.
    lengths = np.linalg.norm(stack, axis=1, keepdims=True)
    stack = stack[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    if len(stack):
      _, values, right = np.linalg.svd(stack, full_matrices=False)
      kept = min(int(np.sum(values > _ROUNDING * values[0])), columns)
      found[:, :kept] = right[:kept].T
  return found
