"""An embedded acquisition: a made-up device whose truth is known.

Forty interferometers in a staircase of OPDs see 160 sources. Reflectivity and
gain change with the wavenumber, and the responses have noise. All is drawn from
a fixed seed.
"""

from typing import Any

from jaxtyping import Float
import numpy as np

from protojax.datasets.responses import Responses

COUNT = 40
# Of the sources, in 1/um.
FIRST, LAST, SOURCES = 1.0, 2.0, 160
# OPD in um of interferometer i: OFFSET + STEP i, with an error of TOLERANCE.
OFFSET, STEP, TOLERANCE = 1.6, 0.5, 0.04
# Deviation of the noise, as a share of the mean response.
NOISE = 0.02
_SEED = 20230


def load(data: Any, split: str, seed: int) -> Responses:
  """The responses; no key of the config, split or seed changes them."""
  del data, split, seed
  wavenumbers = np.linspace(FIRST, LAST, SOURCES)
  clean, flat = _clean(wavenumbers)
  rng = np.random.default_rng(_SEED)
  level = clean.mean(axis=1, keepdims=True)
  noise = NOISE * level * rng.normal(size=clean.shape)
  # Of a window of 5 by 5 pixels, the mean has a fifth of the noise.
  return Responses(
    "simulated acquisition",
    wavenumbers,
    clean + noise,
    clean + noise / 5,
    flat[None],
    STEP * np.arange(COUNT),
    (COUNT,),
  )


def truth() -> dict[str, Float[np.ndarray, " i"]]:
  """OPD in um and phase shift in radians of each: "opd", "phase"."""
  rng = np.random.default_rng(_SEED + 1)
  opd = OFFSET + STEP * np.arange(COUNT)
  return {
    "opd": opd + TOLERANCE * rng.uniform(-1, 1, COUNT),
    "phase": rng.uniform(2.4, 3.4, COUNT),
  }


def reflectivity(
  wavenumbers: Float[np.ndarray, " c"],
) -> Float[np.ndarray, " c"]:
  """The same for all interferometers: it falls with the wavenumber."""
  return 0.32 - 0.2 * (wavenumbers - FIRST) / (LAST - FIRST)


def _clean(wavenumbers: Float[np.ndarray, " c"]) -> tuple[np.ndarray, ...]:
  """Responses without noise by Airy's distribution, and the flat field."""
  x = (wavenumbers - FIRST) / (LAST - FIRST)
  flat = 400 * (0.3 + x - 0.9 * x**2)
  of = truth()
  phase = 2 * np.pi * np.outer(of["opd"], wavenumbers) - of["phase"][:, None]
  r = reflectivity(wavenumbers)
  response = (1 - r**2) / (1 + r**2 - 2 * r * np.cos(phase))
  return 0.8 * flat * response, flat
