"""Levenberg-Marquardt for many small problems at once, each with its damping.

Marquardt's scaling by the diagonal, and Nielsen's damping by the ratio of gain
to promise (IMM-REP-1999-05). A problem takes a step only if its cost falls, and
stops for itself; the loop ends with the last one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.types import Array

_DAMPING = 1e-3
# Damping at which a step changes no digit: the cost cannot fall further.
_STUCK = 1e14


class System(NamedTuple):
  """Problems made linear around their unknowns.

  Attributes:
    cost: half of the sum of squares.
    gradient: of the cost, J^T r.
    diagonal: of J^T J.
    parts: what `solve` needs.
    others: what else the caller wants to know of the unknowns that are kept.
  """

  cost: Float[Array, " b"]
  gradient: Float[Array, "b p"]
  diagonal: Float[Array, "b p"]
  parts: Any
  others: Any = ()


class Solution(NamedTuple):
  """What was found.

  Attributes:
    unknowns: with the lowest cost.
    system: the problems around them.
    steps: that were tried.
    converged: whether the cost has stopped to fall.
  """

  unknowns: Float[Array, "b p"]
  system: System
  steps: Int[Array, " b"]
  converged: Bool[Array, " b"]


class _Loop(NamedTuple):
  unknowns: Array
  system: System
  tried: Array
  promised: Array
  damping: Array
  factor: Array
  steps: Array
  converged: Array
  done: Array


def minimise(
  linearise: Callable[[Array], System],
  solve: Callable[[System, Array], Array],
  start: Float[Array, "b p"],
  most: int | Array,
  tolerance: float | Array,
) -> Solution:
  """The least squares of each problem, from its start.

  Args:
    linearise: unknowns -> the problems around them.
    solve: (system, damping [b p]) -> the steps [b p] that solve
      (J^T J + diag(damping)) step = -gradient.
    start: unknowns to begin with.
    most: steps after which to give up.
    tolerance: a problem has converged when a step lowers its cost by less than
      this share, and was expected to, or when no unknown's gradient is a larger
      share of what it could be.
  """

  def go_on(loop: _Loop) -> Array:
    return (loop.steps.max() < most) & ~loop.done.all()

  def step(loop: _Loop) -> _Loop:
    """Looks at the unknowns to try, keeps the better ones, chooses the next.

    The first are the start itself, so that what is linear around unknowns
    stands once in the program.
    """
    there = linearise(loop.tried)
    gained = loop.system.cost - there.cost
    ratio = gained / jnp.maximum(loop.promised, jnp.finfo(start.dtype).tiny)
    # False where the cost is not finite.
    better = (gained > 0) & (loop.promised > 0) & ~loop.done
    factor = jnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
    damped = jnp.where(
      better, loop.damping * factor, loop.damping * loop.factor
    )
    small = tolerance * there.cost
    flat = better & (gained <= small) & (loop.promised <= small)
    stuck = ~(damped < _STUCK)
    system = jax.tree.map(
      lambda new, old: jnp.where(_as(better, new), new, old), there, loop.system
    )
    known = jnp.isfinite(system.cost)
    level = known & _level(system, tolerance)
    converged = loop.converged | (~loop.done & (flat | stuck | level))
    unknowns = jnp.where(better[:, None], loop.tried, loop.unknowns)
    damping = jnp.where(loop.done, loop.damping, damped)
    scaled = damping[:, None] * _scale(system.diagonal)
    by = solve(system, scaled)
    return _Loop(
      unknowns,
      system,
      unknowns + by,
      0.5 * jnp.sum(by * (scaled * by - system.gradient), axis=1),
      damping,
      jnp.where(better, 2.0, 2 * loop.factor),
      loop.steps + ~loop.done,
      converged,
      loop.done | converged | ~known,
    )

  empty = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(linearise, start)
  )
  zeros = jnp.zeros_like(empty.cost)
  none = jnp.zeros(len(start), bool)
  begin = _Loop(
    start,
    # Any start is better than none, and lowers the damping by three.
    empty._replace(cost=zeros + jnp.inf),
    start,
    zeros + 1,
    zeros + 3 * _DAMPING,
    zeros + 2,
    jnp.full(len(start), -1, jnp.int32),
    none,
    none,
  )
  found = jax.lax.while_loop(go_on, step, begin)
  return Solution(found.unknowns, found.system, found.steps, found.converged)


def _scale(diagonal: Float[Array, "b p"]) -> Float[Array, "b p"]:
  """The diagonal, above zero: an unknown that changes nothing stays."""
  largest = jnp.max(diagonal, axis=1, keepdims=True)
  floor = jnp.finfo(diagonal.dtype).eps * largest
  return jnp.maximum(diagonal, jnp.maximum(floor, floor == 0))


def _level(system: System, tolerance: float | Array) -> Bool[Array, " b"]:
  """Whether the residual is orthogonal to every column of J.

  The cosine of the angle between them is below the square root of the
  tolerance times a digit.
  """
  longest = jnp.sqrt(_scale(system.diagonal) * 2 * system.cost[:, None])
  cosine = jnp.abs(system.gradient) / jnp.maximum(
    longest, jnp.finfo(longest.dtype).tiny
  )
  return jnp.max(cosine, axis=1) <= tolerance


def _as(mask: Bool[Array, " b"], like: Array) -> Array:
  return mask.reshape(-1, *[1] * (like.ndim - 1))


def cholesky(system: System, damping: Float[Array, "b p"]) -> Array:
  """Steps by the normal equations; `system.parts` is J^T J [b p p]."""
  factors = _factors(system.parts + _diagonal(damping))
  down = _down(factors, system.gradient[..., None])
  up = jax.lax.linalg.triangular_solve(
    factors, down, left_side=True, lower=True, transpose_a=True
  )
  return -up[..., 0]


def qr(system: System, damping: Float[Array, "b p"]) -> Array:
  """Steps by QR of J, which keeps digits in float32.

  `system.parts` is (J [b c p], r [b c]).
  """
  jacobian, residual = system.parts
  below = _diagonal(jnp.sqrt(damping))
  q, r = jnp.linalg.qr(jnp.concatenate([jacobian, below], axis=1))
  padded = jnp.pad(residual, ((0, 0), (0, below.shape[1])))
  right = jnp.einsum("bcp,bc->bp", q, padded, precision="highest")
  solved = jax.lax.linalg.triangular_solve(
    r, right[..., None], left_side=True, lower=False
  )
  return -solved[..., 0]


def inverse(matrix: Float[Array, "b p p"]) -> Float[Array, "b p p"]:
  """The inverses of positive definite matrices."""
  unit = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
  down = _down(_factors(matrix), jnp.broadcast_to(unit, matrix.shape))
  return jnp.einsum("bki,bkj->bij", down, down, precision="highest")


def _factors(matrix: Float[Array, "b p p"]) -> Array:
  """Cholesky's L, of the lower half."""
  return jax.lax.linalg.cholesky(matrix, symmetrize_input=False)


def _down(factors: Array, right: Float[Array, "b p k"]) -> Array:
  """The x of L x = right."""
  return jax.lax.linalg.triangular_solve(
    factors, right, left_side=True, lower=True
  )


def _diagonal(values: Float[Array, "b p"]) -> Float[Array, "b p p"]:
  return values[..., None] * jnp.eye(values.shape[1], dtype=values.dtype)[None]
