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
  """

  cost: Float[Array, " b"]
  gradient: Float[Array, "b p"]
  diagonal: Float[Array, "b p"]
  parts: Any


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
  tolerance: float,
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
    system = loop.system
    damping = loop.damping[:, None] * _scale(system.diagonal)
    by = solve(system, damping)
    tried = linearise(loop.unknowns + by)
    promised = 0.5 * jnp.sum(by * (damping * by - system.gradient), axis=1)
    gained = system.cost - tried.cost
    ratio = gained / jnp.maximum(promised, jnp.finfo(by.dtype).tiny)
    # False where the cost is not finite.
    better = (gained > 0) & (promised > 0) & ~loop.done
    factor = jnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
    damped = jnp.where(
      better, loop.damping * factor, loop.damping * loop.factor
    )
    small = tolerance * system.cost
    flat = better & (gained <= small) & (promised <= small)
    stuck = ~(damped < _STUCK)
    system = jax.tree.map(
      lambda new, old: jnp.where(_as(better, new), new, old), tried, system
    )
    converged = loop.converged | (
      ~loop.done & (flat | stuck | _level(system, tolerance))
    )
    return _Loop(
      jnp.where(better[:, None], loop.unknowns + by, loop.unknowns),
      system,
      jnp.where(loop.done, loop.damping, damped),
      jnp.where(better, 2.0, 2 * loop.factor),
      loop.steps + ~loop.done,
      converged,
      loop.done | converged,
    )

  first = linearise(start)
  known = jnp.isfinite(first.cost)
  level = _level(first, tolerance)
  zeros = jnp.zeros_like(first.cost)
  found = jax.lax.while_loop(
    go_on,
    step,
    _Loop(
      start,
      first,
      zeros + _DAMPING,
      zeros + 2,
      jnp.zeros(len(start), jnp.int32),
      level & known,
      level | ~known,
    ),
  )
  return Solution(found.unknowns, found.system, found.steps, found.converged)


def _scale(diagonal: Float[Array, "b p"]) -> Float[Array, "b p"]:
  """The diagonal, above zero: an unknown that changes nothing stays."""
  largest = jnp.max(diagonal, axis=1, keepdims=True)
  floor = jnp.finfo(diagonal.dtype).eps * largest
  return jnp.maximum(diagonal, jnp.maximum(floor, floor == 0))


def _level(system: System, tolerance: float) -> Bool[Array, " b"]:
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
  matrix = system.parts + _diagonal(damping)
  factors = jnp.linalg.cholesky(matrix)
  return -_substituted(factors, system.gradient)


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


def _substituted(factors: Array, right: Array) -> Array:
  """The x of L L^T x = right."""
  down = jax.lax.linalg.triangular_solve(
    factors, right[..., None], left_side=True, lower=True
  )
  up = jax.lax.linalg.triangular_solve(
    factors, down, left_side=True, lower=True, transpose_a=True
  )
  return up[..., 0]


def _diagonal(values: Float[Array, "b p"]) -> Float[Array, "b p p"]:
  return values[..., None] * jnp.eye(values.shape[1], dtype=values.dtype)[None]
