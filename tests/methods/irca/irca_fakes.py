"""Responses of made-up interferometers, in NumPy alone."""

import numpy as np

ENDS = (1.0, 2.85)


def wavenumbers(count=96, ends=ENDS):
  """Evenly spaced, in 1/um."""
  return np.linspace(*ends, count)


def airy(s, opd, phase, reflectivity, gain):
  """Curves [b c] by the formula of an infinite number of waves."""
  angle = 2 * np.pi * s[None] * opd[:, None] - phase[:, None]
  r = reflectivity
  return gain * (1 - r**2) / ((1 - r) ** 2 + 4 * r * np.sin(angle / 2) ** 2)


def drawn(count, s, seed=0, noise=0.02, most=0.9):
  """Truths and noisy curves of interferometers.

  OPDs lie between 1.5 fringes over the range and a share of the largest. The
  noise is a share of the level, one for all or [count 1].
  """
  rng = np.random.default_rng(seed)
  largest = 1 / (2 * np.mean(np.diff(s)))
  opd = rng.uniform(1.5 / np.ptp(s), most * largest, count)
  phase = rng.uniform(0, 2 * np.pi, count)
  x = (2 * s - s[0] - s[-1]) / np.ptp(s)
  r = rng.uniform(0.05, 0.6, (count, 1)) * (1 + 0.2 * x[None])
  level = rng.uniform(50, 200, (count, 1))
  flat = 1 + 0.4 * x - 0.3 * x**2
  clean = airy(s, opd, phase, r, level * flat[None])
  data = clean + noise * level * rng.normal(size=clean.shape)
  return {
    "opd": opd,
    "phase": phase,
    "reflectivity": r,
    "deviation": noise * level,
    "gain": level * flat[None],
    "data": data,
    "norm": np.broadcast_to(flat, data.shape),
  }


def bounds(s, truth):
  """Cramer-Rao bound of the OPDs' deviations [b], from slopes by differences.

  Phase shift, and reflectivity and gain as polynomials of degree 3 are free.
  """
  opd, phase, r, gain = (
    truth[name] for name in ("opd", "phase", "reflectivity", "gain")
  )
  x = (2 * s - s[0] - s[-1]) / np.ptp(s)
  powers = [x**k for k in range(4)]
  none = np.zeros_like(r)

  def slope(name, by):
    step = 1e-5
    more, less = (
      airy(s, **{**given, name: given[name] + sign * step * by})
      for sign in (1, -1)
    )
    return (more - less) / (2 * step)

  given = {"opd": opd, "phase": phase, "reflectivity": r, "gain": gain}
  columns = [slope("opd", np.ones_like(opd)), slope("phase", np.ones_like(opd))]
  columns += [slope("reflectivity", none + power[None]) for power in powers]
  columns += [slope("gain", none + power[None]) for power in powers]
  jacobian = np.stack(columns, axis=2) / truth["deviation"][..., None]
  # Gains count in units of the level.
  jacobian[:, :, 6:] *= gain.mean(axis=1)[:, None, None]
  information = np.swapaxes(jacobian, 1, 2) @ jacobian
  return np.sqrt(np.linalg.inv(information)[:, 0, 0])


def exhaustive(curves, s, opds, reflectivities, phases):
  """OPD, reflectivity and phase shift of curves [b c] of gain 1, by trying all.

  As the authors' exhaustive search: OPD and reflectivity are those whose Airy
  curve has the nearest magnitudes of its Fourier transform, which hardly depend
  on the phase shift; then that is the one with the smallest residual.

  Args:
    curves: of evenly spaced wavenumbers.
    s: these.
    opds, reflectivities, phases: to try.
  """
  opd, r = (grid.ravel() for grid in np.meshgrid(opds, reflectivities))
  none = np.zeros_like(opd)
  tried = airy(s, opd, none, r[:, None], 1.0)
  theirs, ours = (
    np.abs(
      np.fft.rfft((y - y.mean(axis=1, keepdims=True)) * np.hanning(len(s)))
    )
    for y in (tried, curves)
  )
  apart = (theirs**2).sum(axis=1) - 2 * ours @ theirs.T
  best = np.argmin(apart, axis=1)
  found = []
  for y, at in zip(curves, best, strict=True):
    every = airy(
      s, np.full_like(phases, opd[at]), phases, r[at : at + 1, None], 1.0
    )
    nearest = np.argmin(((every - y) ** 2).sum(axis=1))
    found.append((opd[at], r[at], phases[nearest]))
  return np.array(found).T
