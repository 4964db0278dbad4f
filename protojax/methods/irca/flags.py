"""What is wrong with single interferometers, as bits of one number."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float, Int, Int32
import numpy as np

NOT_FINITE = 1
NO_SIGNAL = 2
OPD_TOO_SMALL = 4
REFLECTIVITY = 8
NOT_CONVERGED = 16
OFF_STAIRCASE = 32
# Of interferometers that are not fitted.
UNUSABLE = NOT_FINITE | NO_SIGNAL

MEANINGS = {
  NOT_FINITE: "a response is not a number",
  NO_SIGNAL: "no signal: the mean response is not above 0",
  OPD_TOO_SMALL: "OPD below one fringe over the range",
  REFLECTIVITY: "reflectivity outside of 0 to 1",
  NOT_CONVERGED: "fit not converged",
  OFF_STAIRCASE: "OPD off the staircase",
}
NONE_LEFT = (
  "all interferometers are left out, so nothing is calibrated; expected finite"
  " responses and flat fields with means above 0"
)
# How many times the typical distance from a line counts as off for its fit.
_ROUNDS = 60


class Staircase(NamedTuple):
  """The line that the OPDs of a device's interferometers lie on, in um.

  Attributes:
    offset: OPD of interferometer 0.
    step: from one to the next.
    residual: root of the mean square of the OPDs about the line.
    near: share of the interferometers within the tolerance.
  """

  offset: float
  step: float
  residual: float
  near: float


def words(flags: int) -> str:
  """The meanings of the bits that are set, with semicolons in between."""
  return "; ".join(text for bit, text in MEANINGS.items() if flags & bit)


def counts(flags: Int[np.ndarray, " n"]) -> dict[str, int]:
  """How many interferometers have each flag, for those that some have."""
  found = {text: int(np.sum((flags & b) > 0)) for b, text in MEANINGS.items()}
  return {text: count for text, count in found.items() if count}


def usable(flags: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
  """Those that are fitted."""
  return np.asarray((flags & UNUSABLE) == 0)


def put(
  flags: Int32[np.ndarray, " n"], bit: int, where: Bool[np.ndarray, " n"]
) -> Int32[np.ndarray, " n"]:
  """The flags with a bit set in some rows, and cleared in the others."""
  return np.where(where, flags | bit, flags & ~bit).astype(np.int32)


def staircase(
  opd: Float[np.ndarray, " n"],
  number: Int[np.ndarray, " n"],
  known: Bool[np.ndarray, " n"],
  tolerance: float,
  nominal: Float[np.ndarray, " n"],
) -> tuple[Staircase | None, Float[np.ndarray, " n"]]:
  """The line through most of the OPDs, and the OPD that it gives each.

  Least squares whose weights fall with the distance from the line, as in
  Cauchy's loss, from the nominal OPDs on if they are known: a third of the
  OPDs may lie anywhere.

  Args:
    opd: in um.
    number: of the interferometer.
    known: which OPDs to use.
    tolerance: in um, within which an OPD is near.
    nominal: OPDs in um; nan where they are not known.

  Returns:
    None and the OPDs themselves where fewer than three are known.
  """
  if known.sum() < 3:
    return None, opd
  x, y = number[known].astype(float), opd[known]
  columns = np.stack([np.ones_like(x), x], axis=1)
  line = _solved(columns, y, np.ones_like(y))
  if np.isfinite(nominal[known]).all():
    line = _solved(columns, nominal[known], np.ones_like(y))
    line[0] += np.median(y - columns @ line)
  for _ in range(_ROUNDS):
    apart = np.abs(y - columns @ line)
    scale = max(1.4826 * float(np.median(apart)), 1e-6)
    line = _solved(columns, y, 1 / (1 + (apart / scale) ** 2))
  apart = y - columns @ line
  found = Staircase(
    float(line[0]),
    float(line[1]),
    float(np.sqrt(np.mean(apart**2))),
    float(np.mean(np.abs(apart) <= tolerance)),
  )
  return found, line[0] + line[1] * number


def _solved(
  columns: np.ndarray, y: np.ndarray, weights: Sequence[float] | np.ndarray
) -> np.ndarray:
  weighted = columns.T * weights
  return np.linalg.lstsq(weighted @ columns, weighted @ y, rcond=None)[0]
