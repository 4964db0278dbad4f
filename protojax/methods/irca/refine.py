"""Step 3 of IRCA: least squares of whole curves, all at once.

Minimises 1/2 sum_c rho((T(s_c) - y_c) / level), where level is the mean of the
interferometer's response y, by `levenberg_marquardt`.
"""

import dataclasses
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
    most: steps after which to give up.
    tolerance: see `levenberg_marquardt.minimise`.
    solver: "cholesky" of the normal equations, the fastest, or "qr", which
      keeps its digits in float32.
    loss: of a residual: "squares", or "huber" or "cauchy", which trust large
      residuals less.
    scale: the residual, as a share of the level, at which these begin to.
    staircase: cost of an OPD that is 1 um off its line; 0: none.
  """

  most: int = 60
  tolerance: float = 1e-10
  solver: str = "cholesky"
  loss: str = "squares"
  scale: float = 0.1
  staircase: float = 0.0


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
  stiffness: float
  pull: Float[Array, " b"]


# Gradient and diagonal [b p] of `levenberg_marquardt.System`, and its parts.
Linear = tuple[Array, Array, Any]


def refine(
  model: Model,
  fit: Fit,
  wavenumbers: Float[np.ndarray, " c"],
  curves: Float[ArrayLike, "b c"],
  start: Float[ArrayLike, "b p"],
  line: Float[ArrayLike, " b"],
) -> Fitted:
  """Fits curves from their starts.

  Args:
    model: what is fitted.
    fit: how.
    wavenumbers: of the sources.
    curves: responses over their level.
    start: unknowns, the gain in units of the level.
    line: the OPD in um that the staircase of all gives each.
  """
  start, curves = jnp.asarray(start), jnp.asarray(curves)
  chosen = model.chosen
  low, high = model.ends
  target = jnp.pi * (high - low) * jnp.asarray(line)
  stiffness = fit.staircase / (np.pi * (high - low)) ** 2
  build = normal_equations if fit.solver == "cholesky" else tall_system

  def whole(free: Array) -> Array:
    return start.at[:, chosen].set(free)

  def off(unknowns: Array) -> tuple[Array, Parts, Off]:
    parts = model.parts(wavenumbers, unknowns)
    residual = parts.value - curves
    lost, weights = robust(fit, residual)
    pull = unknowns[:, 1] - target
    cost = jnp.sum(lost, axis=1) + stiffness * pull**2
    return 0.5 * cost, parts, Off(residual, weights, stiffness, pull)

  def linearise(free: Array) -> lm.System:
    cost, parts, found = off(whole(free))
    return lm.System(cost, *build(model, wavenumbers, parts, found))

  solve = lm.cholesky if fit.solver == "cholesky" else lm.qr
  found = lm.minimise(
    linearise, solve, start[:, chosen], fit.most, fit.tolerance
  )
  unknowns = whole(found.unknowns)
  _, parts, last = off(unknowns)
  squares = jnp.mean(last.residual**2, axis=1)
  _, _, normal = normal_equations(model, wavenumbers, parts, last)
  freedom = max(curves.shape[1] - len(chosen), 1)
  variance = squares * (curves.shape[1] / freedom)
  return Fitted(
    unknowns,
    jnp.sqrt(squares),
    found.steps,
    found.converged,
    _covariance(normal, model, variance),
  )


def robust(fit: Fit, residual: Array) -> tuple[Array, Array]:
  """What residuals cost, and weights that give its gradient."""
  if fit.loss == "squares":
    return residual**2, jnp.ones_like(residual)
  share = (residual / fit.scale) ** 2
  if fit.loss == "cauchy":
    return fit.scale**2 * jnp.log1p(share), 1 / (1 + share)
  size = jnp.sqrt(jnp.maximum(share, 1.0))
  lost = jnp.where(share <= 1, share, 2 * size - 1)
  return fit.scale**2 * lost, 1 / size


def normal_equations(
  model: Model, wavenumbers: Float[np.ndarray, " c"], parts: Parts, off: Off
) -> Linear:
  """Gradient, diagonal and J^T W J of the unknowns that are fitted.

  A column of J is a slope times a Chebyshev polynomial, and T_k T_m is
  (T_(k+m) + T_|k-m|) / 2: sums of products of two slopes with the polynomials
  up to twice the degree are all that is needed. These are matrix products with
  a basis that all share.
  """
  residual, weights, stiffness, pull = off
  most = 2 * max(model.degrees)
  basis = jnp.asarray(model.basis(wavenumbers, most), residual.dtype)

  def sums(of: Array) -> Array:
    return jnp.matmul(weights * of, basis, precision="highest")

  groups = list(zip(_slopes(parts), model.degrees, strict=True))
  gradient = [sums(a * residual)[:, : degree + 1] for a, degree in groups]
  blocks = {}
  for i, (a, degree) in enumerate(groups):
    for j, (b, other) in enumerate(groups[i:], i):
      k, m = np.ogrid[: degree + 1, : other + 1]
      found = sums(a * b)
      blocks[i, j] = 0.5 * (found[:, k + m] + found[:, abs(k - m)])
      blocks[j, i] = jnp.swapaxes(blocks[i, j], 1, 2)
  rows = [
    jnp.concatenate([blocks[i, j] for j in range(3)], axis=2) for i in range(3)
  ]
  slope = jnp.concatenate(gradient, axis=1).at[:, 1].add(stiffness * pull)
  normal = jnp.concatenate(rows, axis=1).at[:, 1, 1].add(stiffness)
  chosen = model.chosen
  normal = normal[:, chosen[:, None], chosen[None]]
  diagonal = jnp.diagonal(normal, axis1=1, axis2=2)
  return slope[:, chosen], diagonal, normal


def tall_system(
  model: Model, wavenumbers: Float[np.ndarray, " c"], parts: Parts, off: Off
) -> Linear:
  """Gradient, diagonal and (J, r), with the roots of the weights in both."""
  root = jnp.sqrt(off.weights)
  columns = [
    (root * slope)[..., None]
    * jnp.asarray(model.basis(wavenumbers, degree), slope.dtype)[None]
    for slope, degree in zip(_slopes(parts), model.degrees, strict=True)
  ]
  jacobian = jnp.concatenate(columns, axis=2)
  residual = root * off.residual
  if off.stiffness:
    stiff = off.stiffness**0.5
    last = jnp.zeros_like(jacobian[:, :1]).at[:, 0, 1].set(stiff)
    jacobian = jnp.concatenate([jacobian, last], axis=1)
    end = (stiff * off.pull)[:, None]
    residual = jnp.concatenate([residual, end], axis=1)
  jacobian = jacobian[:, :, model.chosen]
  gradient = jnp.einsum("bcp,bc->bp", jacobian, residual, precision="highest")
  return gradient, jnp.sum(jacobian**2, axis=1), (jacobian, residual)


def _slopes(parts: Parts) -> tuple[Array, Array, Array]:
  return parts.by_phase, parts.by_reflectivity, parts.by_gain


def _covariance(normal: Array, model: Model, variance: Array) -> Array:
  """Variance times (J^T J)^-1 of all unknowns; zeros where none is fitted."""
  diagonal = jnp.diagonal(normal, axis1=1, axis2=2)
  scale = jnp.sqrt(jnp.maximum(diagonal, jnp.finfo(normal.dtype).tiny))
  # Of unit diagonal, so that units do not matter.
  unit = normal / (scale[:, :, None] * scale[:, None, :])
  inverse = jnp.linalg.inv(unit) / (scale[:, :, None] * scale[:, None, :])
  chosen = model.chosen
  zeros = jnp.zeros((len(normal), model.unknowns, model.unknowns), normal.dtype)
  return zeros.at[:, chosen[:, None], chosen[None]].set(
    variance[:, None, None] * inverse
  )
