"""Files of a finished run: characterization.npz, and the authors' layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
import numpy as np

from protojax.methods.irca import flags
from protojax.types import State
from protojax.writing import json_text, replacing

# A reflectivity below a sigmoid is no polynomial: the authors' layout gets one
# of the lowest degree that is so near it, or of the highest degree.
_NEAR, _HIGHEST = 1e-4, 12
_POINTS = 400


def write(method: Any, state: State, folder: Path) -> None:
  """Writes FOLDER/characterization.npz and FOLDER/characterization/.

  Args:
    method: of the run.
    state: the final one.
    folder: workdir of the run.

  Raises:
    UserError: there is no room, or no right to write.
  """
  known = flags.usable(np.asarray(state.buffers["flags"]))
  made = {
    name: _blank(np.asarray(array), known)
    for name, array in (
      *state.params["interferometers"].items(),
      *state.buffers.items(),
    )
  }
  model = method.model
  arrays: dict[str, Any] = {
    **made,
    "shape": np.array(method.source.shape),
    "wavenumbers": method.source.wavenumbers,
    "ends": np.array(model.ends),
    "waves": np.array(model.waves),
    "bounded": np.array(model.bounded),
  }
  with replacing(folder / "characterization.npz", "wb") as file:
    np.savez_compressed(file, **arrays)
  for name, array in exported(method, made).items():
    with replacing(folder / "characterization" / name, "wb") as file:
      np.save(file, array)
  options = {"model": model.waves, "polynomial": "Polynomial"}
  with replacing(folder / "characterization" / "options.json") as file:
    file.write(json_text(options, indent=2))


def exported(
  method: Any, made: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Arrays of the authors' layout: coefficients of powers of 1/um.

  Args:
    method: of the run.
    made: its parameters by name; nan where none were found.
  """
  model = method.model
  reflectivity = made["reflectivity"]
  if model.bounded:
    reflectivity = _as_polynomials(model, reflectivity)
  return {
    "opd.npy": made["opd"][:, None],
    "phase_shift.npy": made["phase"][:, None],
    "reflectivity.npy": powers(reflectivity, model.ends),
    "gain.npy": powers(made["gain"], model.ends),
  }


def powers(
  coefficients: Float[np.ndarray, "n k"], ends: tuple[float, float]
) -> Float[np.ndarray, "n k"]:
  """Coefficients of powers of s, from those of Chebyshev polynomials.

  Args:
    coefficients: of the polynomials in s mapped to -1..1.
    ends: values of s that are mapped to -1 and 1.
  """
  count = coefficients.shape[1]
  turn = np.zeros((count, count))
  for k in range(count):
    one = np.polynomial.Chebyshev.basis(k, domain=ends)
    found = one.convert(kind=np.polynomial.Polynomial).coef
    turn[k, : len(found)] = found
  return coefficients @ turn


def _as_polynomials(
  model: Any, coefficients: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "n m"]:
  """Chebyshev coefficients of polynomials near reflectivities."""
  low, high = model.ends
  x = np.cos(np.pi * (np.arange(_POINTS) + 0.5) / _POINTS)
  s = 0.5 * (low + high) + 0.5 * (high - low) * x
  known = np.asarray(np.isfinite(coefficients).all(axis=1))
  r = np.asarray(model.reflectivities(s, coefficients[known]), np.float64)
  fitted = np.zeros((0, 1))
  for degree in range(model.reflectivity, _HIGHEST + 1):
    basis = model.basis(s, degree)
    fitted = r @ np.linalg.pinv(basis).T
    if np.max(np.abs(fitted @ basis.T - r), initial=0.0) < _NEAR:
      break
  found = np.full((len(known), fitted.shape[1]), np.nan)
  found[known] = fitted
  return found


def _blank(array: np.ndarray, known: np.ndarray) -> np.ndarray:
  """The array with nan in rows that were not fitted."""
  if not np.issubdtype(array.dtype, np.floating):
    return array
  return np.where(known.reshape(-1, *[1] * (array.ndim - 1)), array, np.nan)
