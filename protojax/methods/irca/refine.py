"""Step 3 of IRCA: least squares of whole curves, all at once.

Minimises 1/2 sum_c rho((T(s_c) - y_c) / level), where level is the mean of the
interferometer's response y, by `levenberg_marquardt`.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.methods.irca import levenberg_marquardt as lm
from protojax.methods.irca.model import Model, Parts
from protojax.types import Array, ArrayLike

LOSSES = ("squares", "huber", "cauchy")
SOLVERS = ("cholesky", "qr")


@dataclasses.dataclass(frozen=True)
class Fit:
  """How to fit.

  Attributes:
    solver: "cholesky" of the normal equations, the fastest, or "qr", which
      keeps its digits in float32.
    loss: of a residual: "squares", or "huber" or "cauchy", which trust large
      residuals less.
  """

  solver: str = "cholesky"
  loss: str = "squares"


class Numbers(NamedTuple):
  """Numbers of a fit; one compiled program serves them all.

  Attributes:
    free: whether an unknown is fitted; the others stay.
    most: steps after which to give up.
    tolerance: see `levenberg_marquardt.minimise`.
    scale: the residual, as a share of the level, from which a robust loss
      trusts it less.
    staircase: cost of an OPD that is 1 um off its line; 0: none.
  """

  free: Bool[ArrayLike, " p"]
  most: int | Array = 60
  tolerance: float | Array = 1e-10
  scale: float | Array = 0.1
  staircase: float | Array = 0.0


class Fitted(NamedTuple):
  """What was found of each interferometer.

  Attributes:
    unknowns: see `Model`; the gain in units of the level.
    rmse: root of the mean square of its residuals, as a share of the level.
    steps: that were tried.
    converged: whether the cost has stopped to fall.
    covariance: of the unknowns, those that are not fitted with zeros.
  """

  unknowns: Float[Array, "b p"]
  rmse: Float[Array, " b"]
  steps: Int[Array, " b"]
  converged: Bool[Array, " b"]
  covariance: Float[Array, "b p p"]


class Off(NamedTuple):
  """How far curves are off.

  Attributes:
    residual: fitted minus measured, over the level.
    weights: how much each counts.
    stiffness: of the pull of the staircase.
    pull: how far the slope of the phase is off the staircase.
  """

  residual: Float[Array, "b c"]
  weights: Float[Array, "b c"]
  stiffness: float | Array
  pull: Float[Array, " b"]


# Gradient and diagonal [b p] of `levenberg_marquardt.System`, and its parts.
Linear = tuple[Array, Array, Any]


def refine(
  model: Model,
  fit: Fit,
  numbers: Numbers,
  wavenumbers: Float[np.ndarray, " c"],
  curves: Float[ArrayLike, "b c"],
  start: Float[ArrayLike, "b p"],
  line: Float[ArrayLike, " b"],
) -> Fitted:
  """Fits curves from their starts.

  Args:
    model: what is fitted.
    fit: how.
    numbers: with which numbers.
    wavenumbers: of the sources.
    curves: responses over their level.
    start: unknowns, the gain in units of the level.
    line: the OPD in um that the staircase of all gives each.
  """
  start, curves = jnp.asarray(start), jnp.asarray(curves)
  free = jnp.asarray(numbers.free, start.dtype)
  low, high = model.ends
  per_um = np.pi * (high - low)
  target = per_um * jnp.asarray(line)
  stiffness = numbers.staircase / per_um**2
  normal = fit.solver == "cholesky"
  build = normal_equations if normal else tall_system

  def linearise(unknowns: Array) -> lm.System:
    parts = model.parts(wavenumbers, unknowns)
    residual = parts.value - curves
    lost, weights = robust(fit.loss, numbers.scale, residual)
    pull = unknowns[:, 1] - target
    cost = 0.5 * (jnp.sum(lost, axis=1) + stiffness * pull**2)
    off = Off(residual, weights, stiffness, pull)
    squares = jnp.mean(residual**2, axis=1)
    return lm.System(
      cost, *build(model, wavenumbers, free, parts, off), squares
    )

  found = lm.minimise(
    linearise,
    lm.cholesky if normal else lm.qr,
    start,
    numbers.most,
    numbers.tolerance,
  )
  matrix, squares = found.system.parts, found.system.others
  if not normal:
    jacobian = matrix[0]
    matrix = jnp.einsum("bcp,bcq->bpq", jacobian, jacobian, precision="highest")
  freedom = jnp.maximum(curves.shape[1] - jnp.sum(free), 1)
  return Fitted(
    found.unknowns,
    jnp.sqrt(squares),
    found.steps,
    found.converged,
    _covariance(matrix, free, squares * (curves.shape[1] / freedom)),
  )


def robust(
  loss: str, scale: float | Array, residual: Array
) -> tuple[Array, Array]:
  """What residuals cost, and weights that give its gradient."""
  if loss == "squares":
    return residual**2, jnp.ones_like(residual)
  share = (residual / scale) ** 2
  if loss == "cauchy":
    return scale**2 * jnp.log1p(share), 1 / (1 + share)
  size = jnp.sqrt(jnp.maximum(share, 1.0))
  lost = jnp.where(share <= 1, share, 2 * size - 1)
  return scale**2 * lost, 1 / size


def normal_equations(
  model: Model,
  wavenumbers: Float[np.ndarray, " c"],
  free: Float[Array, " p"],
  parts: Parts,
  off: Off,
) -> Linear:
  """Gradient, diagonal and J^T W J, zeros for what is not fitted.

  A column of J is a slope times a Chebyshev polynomial, and T_k T_m is
  (T_(k+m) + T_|k-m|) / 2: sums of products of two slopes with the polynomials
  up to twice the degree are all that is needed. They are one matrix product
  with a basis that all share.
  """
  residual, weights, stiffness, pull = off
  basis = model.basis(wavenumbers, 2 * max(model.degrees))
  slopes = jnp.stack(_slopes(parts), axis=1)
  others = jnp.concatenate([slopes, residual[:, None]], axis=1)
  products = (weights[:, None] * slopes)[:, :, None] * others[:, None]
  sums = jnp.matmul(
    products, jnp.asarray(basis, residual.dtype), precision="highest"
  )
  sums = sums.reshape(len(residual), -1)
  ends, added, apart = _places(model.degrees)
  normal = 0.5 * (_at(sums, added) + _at(sums, apart))
  first = jnp.asarray(np.arange(model.unknowns) == 1, residual.dtype)
  gradient = _at(sums, ends) + stiffness * pull[:, None] * first[None]
  normal += (stiffness * first[:, None] * first[None])[None]
  normal *= (free[:, None] * free[None])[None]
  diagonal = jnp.sum(normal * jnp.eye(model.unknowns)[None], axis=2)
  return gradient * free[None], diagonal, normal


@functools.cache
def _places(degrees: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
  """Where among the sums of `normal_equations` a number of theirs stands.

  Returns:
    The place [p] of each unknown's gradient, and those [p p] of the two sums
    that an entry of the matrix is made of.
  """
  length = 2 * max(degrees) + 1
  group = np.repeat(np.arange(3), np.array(degrees) + 1)
  order = np.concatenate([np.arange(degree + 1) for degree in degrees])
  begin = length * (4 * group[:, None] + group)
  return (
    length * (4 * group + 3) + order,
    begin + order[:, None] + order,
    begin + np.abs(order[:, None] - order),
  )


def _at(sums: Float[Array, "b k"], places: np.ndarray) -> Array:
  return jnp.take(sums, places, axis=1, mode="clip")


def tall_system(
  model: Model,
  wavenumbers: Float[np.ndarray, " c"],
  free: Float[Array, " p"],
  parts: Parts,
  off: Off,
) -> Linear:
  """Gradient, diagonal and (J, r), with the roots of the weights in both.

  The last row is the staircase's. Columns of what is not fitted are zeros.
  """
  root, stiff = jnp.sqrt(off.weights), jnp.sqrt(off.stiffness)
  columns = [
    (root * slope)[..., None]
    * jnp.asarray(model.basis(wavenumbers, degree), slope.dtype)[None]
    for slope, degree in zip(_slopes(parts), model.degrees, strict=True)
  ]
  jacobian = jnp.concatenate(columns, axis=2)
  last = jnp.zeros_like(jacobian[:, :1]).at[:, 0, 1].set(stiff)
  jacobian = jnp.concatenate([jacobian, last], axis=1) * free[None, None]
  residual = jnp.concatenate(
    [root * off.residual, stiff * off.pull[:, None]], axis=1
  )
  gradient = jnp.einsum("bcp,bc->bp", jacobian, residual, precision="highest")
  return gradient, jnp.sum(jacobian**2, axis=1), (jacobian, residual)


def _slopes(parts: Parts) -> tuple[Array, Array, Array]:
  return parts.by_phase, parts.by_reflectivity, parts.by_gain


def _covariance(
  normal: Float[Array, "b p p"], free: Float[Array, " p"], variance: Array
) -> Float[Array, "b p p"]:
  """Variance times (J^T J)^-1; zeros for what is not fitted."""
  diagonal = jnp.diagonal(normal, axis1=1, axis2=2)
  scale = jnp.sqrt(jnp.maximum(diagonal, jnp.finfo(normal.dtype).tiny))
  scales = scale[:, :, None] * scale[:, None, :]
  # Of unit diagonal, so that units do not matter; what rounding makes of a
  # matrix without an inverse is a large deviation, not none.
  more = 1 - free + 16 * jnp.finfo(normal.dtype).eps
  unit = normal / scales + jnp.diag(more)[None]
  both = (free[:, None] * free[None])[None]
  return variance[:, None, None] * both * lm.inverse(unit) / scales
