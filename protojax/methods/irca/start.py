"""Where the fit of an interferometer begins: steps 1 and 2 of IRCA.

Step 1 takes the gain from the flat field. Step 2 takes the OPD from the peak of
a periodogram, and phase shift and reflectivity from its height; all in closed
form. Rows are interferometers, columns the wavenumbers of the sources.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.types import Array, ArrayLike

# Of the amplitude of a fringe; at 1 the reflectivity would be 1.
_MOST = 0.999
# OPDs whose powers are computed at once.
_AT_ONCE = 500
INVERSIONS = ("two-wave", "airy")


def largest_opd(wavenumbers: Float[np.ndarray, " c"]) -> float:
  """The OPD in um whose fringes have two sources each (Nyquist).

  Where sources are unevenly spaced it is only the end of the search.
  """
  return 1 / (2 * float(np.mean(np.diff(wavenumbers))))


def smallest_opd(wavenumbers: Float[np.ndarray, " c"]) -> float:
  """The OPD in um with one fringe over the range of the sources.

  Below it, fringe and gain cannot be told apart.
  """
  return 1 / float(np.ptp(wavenumbers))


def gain(
  norm: Float[ArrayLike, "b c"],
  mean: Float[ArrayLike, "b c"],
  basis: Float[np.ndarray, "c k"],
) -> Float[Array, "b k"]:
  """Step 1: coefficients of the flat field, at the level of the response.

  The least squares are linear, and all interferometers share one inverse.

  Args:
    norm: flat field, the power of the sources.
    mean: smooth response.
    basis: polynomials at the wavenumbers.
  """
  inverse = np.linalg.pinv(basis).T
  level = jnp.mean(mean, axis=1, keepdims=True)
  flat = norm / jnp.mean(norm, axis=1, keepdims=True)
  return jnp.matmul(flat, inverse.astype(flat.dtype), precision="highest") * (
    level
  )


def opd(
  fringes: Float[ArrayLike, "b c"],
  wavenumbers: Float[np.ndarray, " c"],
  nominal: Float[ArrayLike, " b"],
  samples: int,
  minimum: float,
  span: float,
) -> Float[Array, " b"]:
  """The OPD in um at the peak of the periodogram.

  It is a discrete Fourier transform at the wavenumbers as they are, so they
  need not be evenly spaced.

  Args:
    fringes: response over gain, minus 1.
    wavenumbers: of the sources, in 1/um, ascending.
    nominal: OPD of the device's sheet, in um; nan where it is not known.
    samples: OPDs to try, from 0 to `largest_opd`.
    minimum: the smallest one to try, as a share of the largest.
    span: how far from the nominal one to look, as a share of the largest.
  """
  fringes = jnp.asarray(fringes)
  most = largest_opd(wavenumbers)
  s = jnp.asarray(wavenumbers, fringes.dtype)
  middle = jnp.asarray(nominal, fringes.dtype)[:, None] / most
  first = int(minimum * samples)
  count = min(_AT_ONCE, samples)

  def better(best: tuple, begin: Array) -> tuple[tuple, None]:
    number = begin + jnp.arange(count)
    share = (number / samples).astype(fringes.dtype)
    cycles = s[:, None] * (share * most)[None]
    angle = 2 * jnp.pi * (cycles - jnp.floor(cycles))
    power = (
      jnp.matmul(fringes, jnp.cos(angle), precision="highest") ** 2
      + jnp.matmul(fringes, jnp.sin(angle), precision="highest") ** 2
    )
    inside = (number >= first) & (number < samples)
    near = jnp.abs(share[None] - middle) < span
    power = jnp.where(inside[None] & (near | jnp.isnan(middle)), power, -1)
    at = jnp.argmax(power, axis=1)
    height = jnp.max(power, axis=1)
    higher = height > best[0]
    return (
      jnp.where(higher, height, best[0]),
      jnp.where(higher, number[at], best[1]),
    ), None

  none = jnp.full(len(fringes), -0.5, fringes.dtype)
  begin = none, jnp.zeros(len(fringes), jnp.asarray(count).dtype)
  (_, found), _ = jax.lax.scan(better, begin, jnp.arange(0, samples, count))
  return found.astype(fringes.dtype) / samples * most


def fringe(
  fringes: Float[ArrayLike, "b c"],
  wavenumbers: Float[np.ndarray, " c"],
  opd: Float[ArrayLike, " b"],
  inversion: str = "two-wave",
) -> Mapping[str, Float[Array, " b"]]:
  """Phase shift in 0..2 pi and reflectivity at an OPD: "phase", "reflectivity".

  Args:
    fringes: response over gain, minus 1.
    wavenumbers: of the sources, in 1/um.
    opd: in um.
    inversion: what the amplitude A of the fringe means: "two-wave" is the R
      with A = 2 R / (1 + R^2), "airy" that with A = 2 R.
  """
  fringes = jnp.asarray(fringes)
  s = jnp.asarray(wavenumbers, fringes.dtype)
  cycles = s[None] * jnp.asarray(opd)[:, None]
  angle = 2 * jnp.pi * (cycles - jnp.floor(cycles))
  sine = jnp.mean(fringes * jnp.sin(angle), axis=1)
  cosine = jnp.mean(fringes * jnp.cos(angle), axis=1)
  amplitude = jnp.clip(2 * jnp.hypot(sine, cosine), 1e-6, _MOST)
  if inversion == "airy":
    reflectivity = amplitude / 2
  else:
    # (1 - sqrt(1 - A^2)) / A without the difference of near numbers.
    reflectivity = amplitude / (1 + jnp.sqrt(1 - amplitude**2))
  phase = jnp.arctan2(sine, cosine) % (2 * jnp.pi)
  return {"phase": phase, "reflectivity": reflectivity}
