"""The closed-form start, against naive twins in NumPy."""

import jax
import numpy as np
import pytest

from protojax.methods.irca import start
from tests.methods.irca import irca_fakes


@pytest.fixture(autouse=True)
def _double():
  with jax.enable_x64(True):
    yield


def opd(fringes, s, nominal, *window):
  """By one program."""
  return jax.jit(lambda f, n: start.opd(f, s, n, *window))(fringes, nominal)


def fringe(fringes, s, opds, *inversion):
  return jax.jit(lambda f, d: start.fringe(f, s, d, *inversion))(fringes, opds)


def test_the_gain_is_a_least_squares_polynomial_at_the_level():
  rng = np.random.default_rng(0)
  x = np.linspace(-1, 1, 40)
  basis = np.polynomial.chebyshev.chebvander(x, 5)
  norm, mean = rng.uniform(1, 2, (2, 3, 40))
  gain = jax.jit(lambda norm, mean: start.gain(norm, mean, basis))
  found = np.asarray(gain(norm, mean)) @ basis.T
  for row, n, m in zip(found, norm, mean, strict=True):
    fitted = np.polynomial.Polynomial.fit(x, n / n.mean(), 5)
    np.testing.assert_allclose(row, fitted(x) * m.mean(), rtol=1e-10)


def peak(fringes, s, nominal, samples, minimum, span):
  """The periodogram as its definition says, one interferometer at a time."""
  most = 1 / (2 * np.mean(np.diff(s)))
  tried = np.arange(samples) / samples
  found = []
  for a, middle in zip(fringes, nominal / most, strict=True):
    power = abs(np.exp(-2j * np.pi * np.outer(tried * most, s)) @ a)
    allowed = np.arange(samples) >= int(minimum * samples)
    if np.isfinite(middle):
      allowed &= abs(tried - middle) < span
    found.append(tried[np.argmax(np.where(allowed, power, 0))] * most)
  return np.array(found)


def test_the_opd_is_the_peak_of_the_periodogram():
  """Also where the number of samples is no multiple of what is done at once."""
  rng = np.random.default_rng(1)
  s = np.sort(rng.uniform(1, 2, 61))
  truth = rng.uniform(2, 20, 7)
  fringes = np.cos(2 * np.pi * s * truth[:, None] - 1)
  fringes += rng.normal(size=fringes.shape)
  nominal = truth + rng.uniform(-0.5, 0.5, 7)
  nominal[3:5] = np.nan
  for samples, minimum, span in ((1203, 0.02, 0.05), (500, 0.0, 1.0)):
    found = opd(fringes, s, nominal, samples, minimum, span)
    expected = peak(fringes, s, nominal, samples, minimum, span)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_without_an_opd_to_try_it_is_0():
  fringes = np.ones((1, 20))
  s = np.linspace(1, 2, 20)
  found = opd(fringes, s, np.array([30.0]), 100, 0.0, 0.01)
  assert found[0] == 0


@pytest.mark.parametrize("inversion", start.INVERSIONS)
def test_phase_and_reflectivity_are_those_of_a_pure_fringe(inversion):
  """Over whole periods, so that the sums are exact."""
  s = 1 + np.arange(100) / 100
  opds, phase = np.array([5.0, 12.0, 7.0]), np.array([0.3, 3.0, 6.0])
  r = np.array([0.05, 0.3, 0.45])
  height = 2 * r / (1 + r**2) if inversion == "two-wave" else 2 * r
  angle = 2 * np.pi * s * opds[:, None] - phase[:, None]
  fringes = height[:, None] * np.cos(angle)
  found = fringe(fringes, s, opds, inversion)
  np.testing.assert_allclose(found["phase"], phase, atol=1e-9)
  np.testing.assert_allclose(found["reflectivity"], r, atol=1e-9)


def test_a_fringe_higher_than_2_waves_can_be_stays_below_1():
  s = 1 + np.arange(100) / 100
  fringes = 3 * np.cos(2 * np.pi * s * 5)[None]
  for inversion, most in (("two-wave", 0.96), ("airy", 0.5)):
    found = fringe(fringes, s, np.array([5.0]), inversion)
    assert 0.4 < found["reflectivity"][0] < most


def test_the_range_of_opds():
  s = irca_fakes.wavenumbers(101, (1.0, 2.0))
  assert start.largest_opd(s) == pytest.approx(50)
  assert start.smallest_opd(s) == pytest.approx(1)
