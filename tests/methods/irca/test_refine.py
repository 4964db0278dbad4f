"""Step 3 against SciPy, and what must hold whatever the numbers are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from protojax.methods.irca import start
from protojax.methods.irca.model import Model
from protojax.methods.irca.refine import LOSSES, Fit, refine, robust
from tests.methods.irca import irca_fakes

S = irca_fakes.wavenumbers()
COUNT = 20
MODEL = Model(0, True, 3, 3, irca_fakes.ENDS)


@pytest.fixture(autouse=True)
def _double():
  with jax.enable_x64(True):
    yield


@functools.partial(jax.jit, static_argnums=(0, 1))
def fitted(model, fit, curves, begin, line):
  s = irca_fakes.wavenumbers(curves.shape[1])
  return refine(model, fit, s, curves, begin, line)


@jax.jit
def _begun(data, norm):
  s = irca_fakes.wavenumbers(data.shape[1])
  basis = MODEL.basis(s, MODEL.gain)
  level = data.mean(axis=1, keepdims=True)
  gain = start.gain(norm, data, basis)
  fringes = data / (gain @ basis.T) - 1
  nominal = np.full(len(data), np.nan)
  opd = start.opd(fringes, s, nominal, 4000, 0.02, 1.0)
  found = start.fringe(fringes, s, opd)
  coefficients = MODEL.constant(found["reflectivity"])
  unknowns = MODEL.encoded(opd, found["phase"], coefficients, gain / level)
  return data / level, unknowns, opd


def begun(data, norm):
  """Curves over their level, and the unknowns of steps 1 and 2."""
  return tuple(np.asarray(found) for found in _begun(data, norm))


@pytest.fixture(scope="module")
def problem():
  with jax.enable_x64(True):
    truth = irca_fakes.drawn(COUNT, S)
    yield truth, *begun(truth["data"], truth["norm"])


@pytest.fixture(scope="module")
def solved(problem):
  with jax.enable_x64(True):
    yield fitted(MODEL, Fit(), *problem[1:])


def test_scipy_finds_nothing_lower(problem, solved):
  _, curves, begin, _ = problem
  assert solved.converged.all()
  costs = 0.5 * len(S) * np.square(solved.rmse)
  x = (2 * S - S[0] - S[-1]) / np.ptp(S)

  def residual(u, y):
    angle = u[0] + u[1] * x
    r = 1 / (1 + np.exp(-np.polynomial.chebyshev.chebval(x, u[2:6])))
    gain = np.polynomial.chebyshev.chebval(x, u[6:])
    below = (1 - r) ** 2 + 4 * r * np.sin(angle / 2) ** 2
    return gain * (1 - r**2) / below - y

  for i in range(COUNT):
    theirs = optimize.least_squares(residual, begin[i], args=(curves[i],))
    assert costs[i] <= theirs.cost * (1 + 1e-6)


def test_qr_ends_in_the_same_place_and_in_float32_nearly(problem, solved):
  _, curves, begin, line = problem
  by_qr = fitted(MODEL, Fit(solver="qr"), curves, begin, line)
  np.testing.assert_allclose(by_qr.unknowns, solved.unknowns, atol=1e-5)
  with jax.enable_x64(False):
    single = fitted(
      MODEL,
      Fit(solver="qr", tolerance=1e-6),
      *(np.float32(array) for array in (curves, begin, line)),
    )
  assert single.unknowns.dtype == np.float32
  np.testing.assert_allclose(single.rmse, solved.rmse, rtol=1e-4)
  apart = np.abs(single.unknowns[:, 1] - solved.unknowns[:, 1])
  assert (apart < 0.1 * np.sqrt(solved.covariance[:, 1, 1])).all()


def test_permuted_and_scaled(problem, solved):
  truth, curves, begin, line = problem
  order = np.random.default_rng(2).permutation(COUNT)
  moved = fitted(MODEL, Fit(), curves[order], begin[order], line[order])
  np.testing.assert_allclose(
    moved.unknowns, solved.unknowns[order], rtol=1e-9, atol=1e-9
  )
  # The level takes the scale: what is fitted does not change but by rounding.
  scaled = begun(7 * truth["data"], truth["norm"])
  again = fitted(MODEL, Fit(), *scaled)
  np.testing.assert_allclose(again.unknowns, solved.unknowns, atol=1e-6)


@pytest.mark.slow
def test_deviations_are_those_of_the_noise():
  """OPDs lie within 3 for 95 of 100; with 4 times the sources they halve."""
  size = {}
  for count in (96, 384):
    s = irca_fakes.wavenumbers(count)
    truth = irca_fakes.drawn(100, s, 5, noise=0.03, most=0.9 * 96 / count)
    found = fitted(MODEL, Fit(), *begun(truth["data"], truth["norm"]))
    outward = MODEL.outward()
    covariance = outward @ np.asarray(found.covariance) @ outward.T
    opd = np.asarray(MODEL.decoded(found.unknowns)[0])
    apart = np.abs(opd - truth["opd"])
    near = apart < 3 * np.sqrt(covariance[:, 0, 0])
    assert near.mean() >= 0.95
    size[count] = np.median(apart)
  assert 1.6 < size[96] / size[384] < 2.5


def test_frozen_groups_stay(problem):
  _, curves, begin, line = problem
  model = Model(0, True, 3, 3, irca_fakes.ENDS, free=("opd", "phase"))
  found = fitted(model, Fit(), curves, begin, line)
  np.testing.assert_array_equal(found.unknowns[:, 2:], begin[:, 2:])
  assert (found.unknowns[:, :2] != begin[:, :2]).all()
  assert (found.covariance[:, 2:] == 0).all()


def test_a_robust_loss_is_not_led_by_single_sources(problem, solved):
  _, curves, begin, line = problem
  spoiled = curves.copy()
  spoiled[:, ::17] += 2
  apart = {}
  for fit in (Fit(), Fit(loss="cauchy", scale=0.05)):
    found = fitted(MODEL, fit, spoiled, begin, line).unknowns[:, 1]
    apart[fit.loss] = np.abs(found - solved.unknowns[:, 1])
  assert np.median(apart["cauchy"]) < 0.5 * np.median(apart["squares"])


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_give_the_gradient_of_a_loss(loss):
  """rho' / 2 = weight times residual; near zero it is the square."""
  fit, residual = Fit(loss=loss, scale=0.3), np.linspace(-2, 2, 41)

  def total(r):
    return jnp.sum(robust(fit, r)[0])

  lost, weights = robust(fit, jnp.asarray(residual))
  slope = jax.jit(jax.grad(total))(jnp.asarray(residual))
  np.testing.assert_allclose(0.5 * slope, weights * residual, atol=1e-12)
  small = np.abs(residual) < 0.11
  np.testing.assert_allclose(lost[small], residual[small] ** 2, atol=2e-3)
  assert (lost <= residual**2 + 1e-12).all()


def test_the_staircase_pulls_opds_to_its_line(problem, solved):
  _, curves, begin, _ = problem
  per_um = np.pi * np.ptp(S)
  free = solved.unknowns[:, 1] / per_um
  target = np.asarray(free) + 0.05
  found = {}
  for weight, solver in ((1e6, "cholesky"), (10.0, "qr")):
    fit = Fit(staircase=weight, solver=solver)
    unknowns = fitted(MODEL, fit, curves, begin, target).unknowns
    found[weight, solver] = unknowns[:, 1] / per_um
  apart = np.abs(found[10.0, "qr"] - target)
  assert (apart < 0.05).all()
  strong = np.abs(found[1e6, "cholesky"] - target)
  assert (strong < apart).all()
  assert strong.max() < 1e-3
