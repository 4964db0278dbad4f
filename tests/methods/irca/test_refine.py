"""Step 3 against SciPy, and what must hold whatever the numbers are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from protojax.methods.irca import start
from protojax.methods.irca.model import Model
from protojax.methods.irca.refine import LOSSES, Fit, Numbers, refine, robust
from tests.methods.irca import irca_fakes

S = irca_fakes.wavenumbers()
COUNT = 20
MODEL = Model(0, True, 3, 3, irca_fakes.ENDS)
EVERY = np.ones(MODEL.unknowns, bool)
# Two programs serve nearly all tests. Below its scale Cauchy's loss is squares.
SQUARES, CAUCHY = Fit(), Fit("qr", "cauchy")
WIDE = 1e6


@pytest.fixture(autouse=True)
def _double():
  with jax.enable_x64(True):
    yield


@functools.partial(jax.jit, static_argnums=0)
def _fitted(fit, numbers, curves, begin, line):
  s = irca_fakes.wavenumbers(curves.shape[1])
  return refine(MODEL, fit, numbers, s, curves, begin, line)


def fitted(fit, curves, begin, line, **numbers):
  """By `refine`, with all unknowns but for those that `numbers` frees."""
  return _fitted(
    fit, Numbers(**{"free": EVERY, **numbers}), curves, begin, line
  )


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
    yield fitted(SQUARES, *problem[1:])


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


def test_qr_ends_in_the_same_place(problem, solved):
  _, curves, begin, line = problem
  by_qr = fitted(CAUCHY, curves, begin, line, scale=WIDE)
  np.testing.assert_allclose(by_qr.unknowns, solved.unknowns, atol=1e-5)
  np.testing.assert_allclose(by_qr.rmse, solved.rmse, rtol=1e-7)
  largest = np.abs(solved.covariance).max()
  np.testing.assert_allclose(
    by_qr.covariance, solved.covariance, atol=1e-4 * largest
  )


@pytest.mark.slow
def test_qr_in_float32_ends_nearly_there(problem, solved):
  _, curves, begin, line = problem
  single = (np.float32(array) for array in (curves, begin, line))
  with jax.enable_x64(False):
    single = fitted(Fit("qr"), *single, tolerance=1e-6)
  assert single.unknowns.dtype == np.float32
  np.testing.assert_allclose(single.rmse, solved.rmse, rtol=1e-4)
  apart = np.abs(single.unknowns[:, 1] - solved.unknowns[:, 1])
  assert (apart < 0.1 * np.sqrt(solved.covariance[:, 1, 1])).all()


def test_permuted_and_scaled(problem, solved):
  truth, curves, begin, line = problem
  order = np.random.default_rng(2).permutation(COUNT)
  moved = fitted(SQUARES, curves[order], begin[order], line[order])
  np.testing.assert_allclose(
    moved.unknowns, solved.unknowns[order], rtol=1e-9, atol=1e-9
  )
  # The level takes the scale: what is fitted does not change but by rounding.
  scaled = begun(7 * truth["data"], truth["norm"])
  again = fitted(SQUARES, *scaled)
  np.testing.assert_allclose(again.unknowns, solved.unknowns, atol=1e-6)


def test_the_cost_never_rises(problem, solved):
  curves = problem[1:]
  found = [fitted(SQUARES, *curves, most=n).rmse for n in range(8)]
  assert (np.diff(found, axis=0) <= 0).all()
  assert (solved.rmse <= found[-1]).all()


def test_trying_all_of_a_grid_finds_the_same(problem, solved):
  """Where a search from a start could end a fringe off, or in a side lobe."""
  _, curves, begin, _ = problem
  basis = MODEL.basis(S, MODEL.gain)
  even = curves / (begin[:, 6:] @ basis.T)
  opds = np.arange(0.8, 26, 0.04)
  shares = np.linspace(0.05, 0.65, 13)
  phases = np.linspace(0, 2 * np.pi, 64, endpoint=False)
  opd, r, phase = irca_fakes.exhaustive(even, S, opds, shares, phases)
  found, shift, coefficients, _ = MODEL.decoded(solved.unknowns)
  mean = MODEL.reflectivities(S, coefficients).mean(axis=1)
  assert (np.abs(opd - found) < 2 * 0.04).all()
  assert (np.abs(r - mean) < 0.1).all()
  # In fringes, at the middle of the range.
  turns = np.mean(S) * (opd - found) - (phase - shift) / (2 * np.pi)
  assert (np.abs(turns - np.round(turns)) < 0.05).all()


@pytest.mark.slow
def test_deviations_are_those_of_the_noise():
  """OPDs lie within 3 for 95 of 100; with 4 times the sources they halve.

  Three times the Cramer-Rao bound, which the deviations come near.
  """
  size = {}
  noise = np.linspace(0.01, 0.05, 100)[:, None]
  for count in (96, 384):
    s = irca_fakes.wavenumbers(count)
    truth = irca_fakes.drawn(100, s, 5, noise=noise, most=0.9 * 96 / count)
    found = fitted(SQUARES, *begun(truth["data"], truth["norm"]))
    outward = MODEL.outward()
    covariance = outward @ np.asarray(found.covariance) @ outward.T
    opd = np.asarray(MODEL.decoded(found.unknowns)[0])
    apart = np.abs(opd - truth["opd"])
    least, told = irca_fakes.bounds(s, truth), np.sqrt(covariance[:, 0, 0])
    assert np.mean(apart < 3 * least) >= 0.95
    assert np.mean(apart < 3 * told) >= 0.95
    assert np.median(told / least) == pytest.approx(1, abs=0.05)
    size[count] = np.median(apart)
  assert 1.6 < size[96] / size[384] < 2.5


@pytest.mark.parametrize("fit", [SQUARES, CAUCHY])
def test_frozen_groups_stay(problem, fit):
  _, curves, begin, line = problem
  free = MODEL.of_groups(("opd", "phase"))
  found = fitted(fit, curves, begin, line, free=free, scale=WIDE)
  np.testing.assert_array_equal(found.unknowns[:, 2:], begin[:, 2:])
  assert (found.unknowns[:, :2] != begin[:, :2]).all()
  assert (found.covariance[:, 2:] == 0).all()
  assert found.converged.all()
  assert (np.asarray(found.covariance)[:, 1, 1] > 0).all()


def test_a_robust_loss_is_not_led_by_single_sources(problem, solved):
  _, curves, begin, line = problem
  spoiled = curves.copy()
  spoiled[:, ::17] += 2
  led, kept = (
    np.abs(
      fitted(CAUCHY, spoiled, begin, line, scale=scale).unknowns[:, 1]
      - solved.unknowns[:, 1]
    )
    for scale in (WIDE, 0.05)
  )
  assert np.median(kept) < 0.5 * np.median(led)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_give_the_gradient_of_a_loss(loss):
  """rho' / 2 = weight times residual; near zero it is the square."""
  residual = np.linspace(-2, 2, 41)

  @jax.jit
  def both(r):
    return robust(loss, 0.3, r), jax.grad(
      lambda r: jnp.sum(robust(loss, 0.3, r)[0])
    )(r)

  (lost, weights), slope = both(residual)
  np.testing.assert_allclose(0.5 * slope, weights * residual, atol=1e-12)
  small = np.abs(residual) < 0.11
  np.testing.assert_allclose(lost[small], residual[small] ** 2, atol=2e-3)
  assert (lost <= residual**2 + 1e-12).all()


def test_the_staircase_pulls_opds_to_its_line(problem, solved):
  _, curves, begin, _ = problem
  per_um = np.pi * np.ptp(S)
  target = np.asarray(solved.unknowns[:, 1]) / per_um + 0.05

  def distances(fit, weight):
    found = fitted(fit, curves, begin, target, staircase=weight, scale=WIDE)
    return np.abs(found.unknowns[:, 1] / per_um - target)

  apart = distances(CAUCHY, 10.0)
  assert (apart < 0.05).all()
  np.testing.assert_allclose(distances(SQUARES, 10.0), apart, atol=1e-6)
  strong = distances(SQUARES, 1e6)
  assert (strong < apart).all()
  assert strong.max() < 1e-3
