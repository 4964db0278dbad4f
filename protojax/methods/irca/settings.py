"""Checks the config of IRCA, and turns it into the settings of a fit."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from protojax import ranges
from protojax.methods.irca import refine, start
from protojax.methods.irca.model import GROUPS, Model
from protojax.methods.irca.refine import Fit, Numbers
from protojax.types import UserError

PRECISIONS = ("float64", "float32")
_DEGREE = ranges.whole(0, 32)
# Below 0: the preset's.
_SHARE = ranges.Range(-1.0, 1.0)
# Of the config's numbers; see also `ranges.EVERYWHERE`.
RANGES = {
  "waves": ranges.whole(0, 1_000),
  "degrees.reflectivity": _DEGREE,
  "degrees.gain": _DEGREE,
  "data.opd_step": ranges.Range(0.0, 1e6),
  "start.samples": ranges.whole(2, 10_000_000),
  "start.minimum": _SHARE,
  "start.span": _SHARE,
  "refine.steps": ranges.whole(0, 100_000),
  "refine.tolerance": ranges.Range(0.0, 1.0, above=True),
  "refine.scale": ranges.Range(0.0, 1e6, above=True),
  "refine.staircase": ranges.WEIGHT,
  "flags.staircase": ranges.Range(0.0, 1e6, above=True),
}


def require(config: ConfigDict) -> None:
  """Refuses settings that would fail only in the middle.

  Raises:
    UserError: names the key, its value and what it may be.
  """
  ranges.require(config, RANGES)
  _one_of("precision", config.precision, PRECISIONS)
  _one_of("start.inversion", config.start.inversion, start.INVERSIONS)
  _one_of("refine.loss", config.refine.loss, refine.LOSSES)
  _one_of("refine.solver", config.refine.solver, ("", *refine.SOLVERS))
  free = tuple(config.free)
  for name in free:
    _one_of("free", name, GROUPS)
  if not free:
    raise UserError(
      f"--config.free is empty; it must hold some of {', '.join(GROUPS)}."
    )


def require_sources(sources: int, unknowns: int) -> None:
  """Requires more sources than unknowns of an interferometer.

  Raises:
    UserError: there are too few.
  """
  if sources <= unknowns:
    raise UserError(
      f"{sources} sources cannot tell {unknowns} unknowns of an interferometer"
      " apart: lower --config.degrees.gain and --config.degrees.reflectivity"
    )


def fit(config: ConfigDict) -> Fit:
  """How to fit."""
  usual = "cholesky" if config.precision == "float64" else "qr"
  return Fit(config.refine.solver or usual, config.refine.loss)


def numbers(config: ConfigDict, model: Model) -> Numbers:
  """With which numbers to fit."""
  c = config.refine
  least = 0.0 if config.precision == "float64" else 1e-6
  tolerance = max(c.tolerance, least)
  free = model.of_groups(config.free)
  return Numbers(free, c.steps, tolerance, c.scale, c.staircase)


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    named = ", ".join(repr(name) for name in known)
    raise UserError(f"--config.{key} is {value!r}; choose from {named}.")
