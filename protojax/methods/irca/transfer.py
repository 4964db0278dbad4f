"""Transmittance of a Fabry-Perot interferometer, and its derivatives by hand.

Picone et al., Optics Express 31(14), 2023 (10.1364/OE.491698). Of the light of
wavenumber s (1/um) an interferometer lets through

  gain(s) times response(phase, R(s)),  phase = 2 pi s OPD - phase shift,

where the response has mean 1 over a period of the phase, whatever the number
of waves that interfere. Infinitely many waves are Airy's distribution.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.types import Array, ArrayLike

# `waves` of Airy's distribution.
AIRY = 0
# Waves added in one turn of a loop: few of them have none.
_UNROLLED = 4


class Response(NamedTuple):
  """A response and its slopes.

  Attributes:
    value: the transmittance over the gain.
    by_phase: its derivative by the phase, per radian.
    by_reflectivity: its derivative by the reflectivity.
  """

  value: Float[Array, "*n"]
  by_phase: Float[Array, "*n"]
  by_reflectivity: Float[Array, "*n"]


def response(
  waves: int, cycles: Float[ArrayLike, "*n"], r: Float[ArrayLike, "*n"]
) -> Response:
  """The transmittance over the gain, with its slopes.

  Args:
    waves: how many interfere, 1 or more; 0: infinitely many.
    cycles: the phase over 2 pi. Only its fraction counts, and is taken before
      any sine: in float32 a sine of thousands of radians has no digits left.
    r: the reflectivity.
  """
  cycles, r = jnp.asarray(cycles), jnp.asarray(r)
  half = jnp.pi * (cycles - jnp.floor(cycles))
  sine, cosine = jnp.sin(half), jnp.cos(half)
  if waves == AIRY:
    return _airy(2 * sine * cosine, 2 * sine**2, r)
  return _of_waves(waves, 2 * sine * cosine, 1 - 2 * sine**2, r)


def _airy(
  sine: Float[Array, "*n"], versine: Float[Array, "*n"], r: Array
) -> Response:
  """(1 - R^2) / (1 + R^2 - 2 R cos phase), from sin and 1 - cos."""
  # In this form the denominator keeps its digits where R is near 1.
  below = (1 - r) ** 2 + 2 * r * versine
  above = 1 - r**2
  value = above / below
  return Response(
    value,
    -2 * value * r * sine / below,
    (2 * value * (1 - versine - r) - 2 * r) / below,
  )


def _of_waves(
  waves: int, sine: Float[Array, "*n"], cosine: Float[Array, "*n"], r: Array
) -> Response:
  """|1 + z + ... + z^(N-1)|^2 / (1 + R^2 + ... + R^(2N-2)), z = R exp(i phase).

  The sums are finite where the closed form is 0 / 0, at R = 1.
  """
  x, y = r * cosine, r * sine
  zero, one = jnp.zeros_like(x), jnp.ones_like(x)

  # Horner's scheme for the sum of powers and its derivative by z, and for the
  # sum of the powers of R^2 and its derivative.
  def more(_: Any, sums: tuple) -> tuple:
    a, b, da, db, norm, slope = sums
    return (
      x * a - y * b + 1,
      x * b + y * a,
      x * da - y * db + a,
      x * db + y * da + b,
      norm * r**2 + 1,
      slope * r**2 + norm,
    )

  # A loop, so that a program of a thousand waves is no larger than one of five.
  a, b, da, db, norm, slope = jax.lax.fori_loop(
    0,
    waves - 1,
    more,
    (one, zero, zero, zero, one, zero),
    unroll=min(max(waves - 1, 1), _UNROLLED),
  )
  value = (a**2 + b**2) / norm
  # d|S|^2 = 2 Re(conj(S) S' dz), where dz is i z dphase and exp(i phase) dR.
  re, im = a * da + b * db, a * db - b * da
  return Response(
    value,
    -2 * (re * y + im * x) / norm,
    2 * (re * cosine - im * sine - value * r * slope) / norm,
  )


def finesse(r: Float[ArrayLike, "*n"]) -> Float[Array, "*n"]:
  """pi sqrt(R) / (1 - R): how many times narrower a fringe is than its gap."""
  return jnp.pi * jnp.sqrt(jnp.maximum(r, 0)) / (1 - r)


def chebyshev(
  wavenumbers: Float[ArrayLike, " c"], ends: tuple[float, float], degree: int
) -> Float[np.ndarray, "c k"]:
  """Chebyshev polynomials of degree 0 to `degree`, on the host in float64.

  Normal equations in powers of the wavenumber would have no digits left.

  Args:
    wavenumbers: where to take them.
    ends: wavenumbers that are mapped to -1 and 1.
    degree: the largest.
  """
  low, high = ends
  x = (2 * np.asarray(wavenumbers, np.float64) - low - high) / (high - low)
  return np.polynomial.chebyshev.chebvander(x, degree)
