"""Transmittance against closed forms, Fourier series and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.irca import transfer
from protojax.methods.irca.transfer import AIRY

WAVES = (AIRY, 1, 2, 3, 5)
response = jax.jit(transfer.response, static_argnums=0)


@pytest.fixture(autouse=True)
def _double():
  with jax.enable_x64(True):
    yield


def value(waves, phase, r):
  """By the definition of each regime, in NumPy."""
  if waves == AIRY:
    return (1 - r**2) / ((1 - r) ** 2 + 4 * r * np.sin(phase / 2) ** 2)
  if waves == 1:
    return np.ones_like(phase)
  n = waves
  above = 1 + r ** (2 * n) - 2 * r**n * np.cos(n * phase)
  below = 1 + r**2 - 2 * r * np.cos(phase)
  return (1 - r**2) / (1 - r ** (2 * n)) * above / below


def drawn(count=4096, most=0.9):
  rng = np.random.default_rng(0)
  return rng.uniform(-40, 40, count), rng.uniform(0.01, most, count)


@pytest.mark.parametrize("waves", WAVES)
def test_it_is_the_closed_form(waves):
  phase, r = drawn()
  found = response(waves, phase / (2 * np.pi), r)
  np.testing.assert_allclose(found.value, value(waves, phase, r), rtol=1e-10)
  if waves == 2:
    special = (1 + r**2 + 2 * r * np.cos(phase)) / (1 + r**2)
    np.testing.assert_allclose(found.value, special, rtol=1e-12)
  mirrored = response(waves, -phase / (2 * np.pi), r)
  np.testing.assert_allclose(mirrored.value, found.value, rtol=1e-11)
  np.testing.assert_allclose(
    mirrored.by_phase, -found.by_phase, rtol=1e-9, atol=1e-12
  )


@pytest.mark.parametrize("waves", WAVES)
def test_its_fourier_series_has_mean_1(waves):
  """2 R^k (1 - R^(2(N - k))) / (1 - R^(2N)), and 2 R^k for Airy."""
  cycles = np.arange(4096) / 4096
  for r in (0.0, 0.3, 0.8, 0.97):
    found = response(waves, cycles, np.full_like(cycles, r)).value
    series = np.fft.rfft(found).real / len(cycles)
    assert abs(series[0] - 1) < 1e-10
    k, n = np.arange(1, 8), waves
    expected = 2 * r**k
    if n:
      ends = 1 - r ** (2 * np.maximum(n - k, 0))
      expected *= ends / (1 - r ** (2 * n))
    np.testing.assert_allclose(2 * series[1:8], expected, atol=1e-10)


@pytest.mark.parametrize("waves", WAVES)
def test_slopes_are_those_of_autodiff(waves):
  phase, r = drawn()

  def one(phase, r):
    return transfer.response(waves, phase / (2 * jnp.pi), r).value

  slopes = jax.jit(jax.vmap(jax.jacfwd(one, argnums=(0, 1))))(phase, r)
  found = response(waves, phase / (2 * np.pi), r)
  for ours, theirs in zip(found[1:], slopes, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)


def test_many_waves_are_airys_distribution():
  phase, r = drawn(most=0.6)
  limit = response(AIRY, phase / 7, r).value
  apart = [
    float(jnp.max(jnp.abs(response(n, phase / 7, r).value - limit)))
    for n in (4, 8, 16, 40)
  ]
  assert sorted(apart, reverse=True) == apart
  assert apart[-1] < 1e-7


def test_a_reflectivity_of_1_is_finite_with_waves_and_0_changes_nothing():
  cycles = np.linspace(0.0, 2.0, 4097)[:-1]
  ones = response(3, cycles, np.ones(4096))
  assert all(np.isfinite(part).all() for part in ones)
  # Of three equal waves all light passes where they agree.
  assert ones.value[0] == pytest.approx(3)
  for waves in WAVES:
    none = response(waves, cycles, np.zeros(4096))
    np.testing.assert_array_equal(none.value, 1)
    np.testing.assert_array_equal(none.by_phase, 0)


def test_float32_keeps_its_digits_at_many_cycles():
  """500 cycles: the fraction is taken before the sine, which gets 2 pi."""
  cycles = np.float32(500 + np.linspace(0, 1, 64, endpoint=False))
  r = np.full_like(cycles, 0.5)
  exact = value(AIRY, 2 * np.pi * cycles.astype(float), 0.5)
  found = response(AIRY, jnp.asarray(cycles), jnp.asarray(r))
  assert found.value.dtype == np.float32
  np.testing.assert_allclose(found.value, exact, rtol=2e-6)


def test_finesse():
  assert transfer.finesse(np.array(0.25)) == pytest.approx(np.pi * 0.5 / 0.75)
  assert transfer.finesse(np.array(0.0)) == 0


def test_chebyshev_polynomials_of_the_range():
  found = transfer.chebyshev(np.array([1.0, 1.5, 2.0]), (1.0, 2.0), 3)
  np.testing.assert_allclose(
    found, [[1, -1, 1, -1], [1, 0, -1, 0], [1, 1, 1, 1]], atol=1e-15
  )
