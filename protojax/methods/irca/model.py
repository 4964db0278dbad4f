"""The model of an interferometer: unknowns -> transmittance, with slopes.

Phase, reflectivity and gain are polynomials of the wavenumber in one basis,
Chebyshev polynomials of x in -1..1, and the unknowns are their coefficients:

  phase = u[0] + u[1] x,  of an OPD that does not depend on the wavenumber
  reflectivity = sigmoid(u[2] + u[3] T_1(x) + ...), or without the sigmoid
  gain = u[.] + u[.] T_1(x) + ...

The phase at the middle of the range and its slope are nearly independent; the
phase shift at wavenumber 0 and the OPD are not.
"""

from collections.abc import Collection
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float
import numpy as np

from protojax.methods.irca import transfer
from protojax.types import Array, ArrayLike

GROUPS = ("opd", "phase", "reflectivity", "gain")
# Of a start below a sigmoid.
_LEAST = 1e-4


class Parts(NamedTuple):
  """A transmittance, and its slopes by the values of the three polynomials."""

  value: Float[Array, "b c"]
  by_phase: Float[Array, "b c"]
  by_reflectivity: Float[Array, "b c"]
  by_gain: Float[Array, "b c"]


@dataclasses.dataclass(frozen=True)
class Model:
  """What is known of an interferometer before it is measured.

  Attributes:
    waves: how many interfere; 0: infinitely many (`transfer.response`).
    bounded: whether the reflectivity stays between 0 and 1, by a sigmoid.
    reflectivity: degree of its polynomial.
    gain: degree of its polynomial.
    ends: first and last wavenumber of the sources, in 1/um.
  """

  waves: int
  bounded: bool
  reflectivity: int
  gain: int
  ends: tuple[float, float]

  @property
  def degrees(self) -> tuple[int, int, int]:
    """Of phase, reflectivity and gain."""
    return 1, self.reflectivity, self.gain

  @property
  def unknowns(self) -> int:
    """How many an interferometer has."""
    return sum(self.degrees) + 3

  def of_groups(self, names: Collection[str]) -> Bool[np.ndarray, " p"]:
    """Which unknowns are of some of `GROUPS`."""
    group = ["phase", "opd"]
    group += ["reflectivity"] * (self.reflectivity + 1)
    group += ["gain"] * (self.gain + 1)
    return np.array([name in names for name in group])

  def basis(
    self, wavenumbers: Float[ArrayLike, " c"], degree: int
  ) -> Float[np.ndarray, "c k"]:
    """Polynomials of degree 0 to `degree` at wavenumbers."""
    return transfer.chebyshev(wavenumbers, self.ends, degree)

  def split(self, unknowns: Float[ArrayLike, "b p"]) -> tuple[Array, ...]:
    """Coefficients of phase, reflectivity and gain."""
    end = 3 + self.reflectivity
    u = jnp.asarray(unknowns)
    return u[:, :2], u[:, 2:end], u[:, end:]

  def parts(
    self, wavenumbers: Float[ArrayLike, " c"], unknowns: Float[ArrayLike, "b p"]
  ) -> Parts:
    """Transmittance at wavenumbers, with its slopes."""
    phase, logit, gain = (
      _times(coefficients, self.basis(wavenumbers, degree))
      for coefficients, degree in zip(
        self.split(unknowns), self.degrees, strict=True
      )
    )
    r = jax.nn.sigmoid(logit) if self.bounded else logit
    found = transfer.response(self.waves, phase / (2 * jnp.pi), r)
    steepness = r * (1 - r) if self.bounded else 1.0
    return Parts(
      gain * found.value,
      gain * found.by_phase,
      gain * found.by_reflectivity * steepness,
      found.value,
    )

  def reflectivities(
    self,
    wavenumbers: Float[ArrayLike, " c"],
    coefficients: Float[ArrayLike, "b k"],
  ) -> Float[Array, "b c"]:
    """Reflectivity at wavenumbers from its coefficients."""
    found = _times(coefficients, self.basis(wavenumbers, self.reflectivity))
    return jax.nn.sigmoid(found) if self.bounded else found

  def encoded(
    self,
    opd: Float[ArrayLike, " b"],
    phase: Float[ArrayLike, " b"],
    reflectivity: Float[ArrayLike, "b r"],
    gain: Float[ArrayLike, "b g"],
  ) -> Float[Array, "b p"]:
    """Unknowns of an OPD in um, a phase shift, and coefficients."""
    low, high = self.ends
    cycles = 0.5 * (low + high) * jnp.asarray(opd)
    middle = 2 * jnp.pi * (cycles - jnp.floor(cycles)) - phase
    slope = jnp.pi * (high - low) * jnp.asarray(opd)
    both = jnp.stack([middle, slope], axis=1)
    return jnp.concatenate([both, reflectivity, gain], axis=1)

  def decoded(self, unknowns: Float[ArrayLike, "b p"]) -> tuple[Array, ...]:
    """OPD, phase shift in 0..2 pi, coefficients: what `encoded` takes."""
    phase, reflectivity, gain = self.split(unknowns)
    low, high = self.ends
    opd = phase[:, 1] / (jnp.pi * (high - low))
    cycles = 0.5 * (low + high) * opd
    shift = 2 * jnp.pi * (cycles - jnp.floor(cycles)) - phase[:, 0]
    return opd, shift % (2 * jnp.pi), reflectivity, gain

  def constant(self, reflectivity: Float[ArrayLike, " b"]) -> Array:
    """Coefficients of a reflectivity that is the same everywhere."""
    r = jnp.asarray(reflectivity)
    if self.bounded:
      r = jnp.clip(r, _LEAST, 1 - _LEAST)
      r = jnp.log(r) - jnp.log1p(-r)
    return jnp.pad(r[:, None], ((0, 0), (0, self.reflectivity)))

  def outward(self) -> Float[np.ndarray, "p p"]:
    """Derivative of (OPD, phase shift, coefficients) by the unknowns."""
    low, high = self.ends
    found = np.eye(self.unknowns)
    per_slope = 1 / (np.pi * (high - low))
    found[0, :2] = 0, per_slope
    found[1, :2] = -1, np.pi * (low + high) * per_slope
    return found


def _times(
  coefficients: Float[ArrayLike, "b k"], basis: Float[np.ndarray, "c k"]
) -> Float[Array, "b c"]:
  coefficients = jnp.asarray(coefficients)
  turned = jnp.asarray(basis.T, coefficients.dtype)
  return jnp.matmul(coefficients, turned, precision="highest")
