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

  OPDs lie between 1.5 fringes over the range and a share of the largest.
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
    "gain": level * flat[None],
    "data": data,
    "norm": np.broadcast_to(flat, data.shape),
  }
