"""The device as a whole: staircase, residuals, reflectivity, uncertainty."""

from collections.abc import Iterator
from typing import Any

from jaxtyping import Float
import numpy as np

from protojax.explain import blocks
from protojax.methods.irca import flags, transfer
from protojax.types import State

# Interferometers that the curves and tables show, evenly chosen.
_SHOWN = 2000
_UM = "\N{MICRO SIGN}m"
_NUMBER = blocks.Axis("interferometer")


def overview(method: Any, state: State) -> blocks.Explanation:
  """The explanation of a device."""
  return blocks.Explanation(
    key="device",
    title="The device",
    scope="overview",
    subject=method.source.title,
    blocks=tuple(_blocks(method, state)),
  )


def _blocks(method: Any, state: State) -> Iterator[blocks.Block]:
  marks = np.asarray(state.buffers["flags"])
  known = flags.usable(marks)
  count, fitted = len(marks), int(known.sum())
  yield blocks.Sentence(
    f"{fitted:,} of {count:,} interferometers are fitted, each by the response"
    f" to {len(method.source.wavenumbers)} monochromatic sources."
  )
  found = flags.counts(marks)
  if found:
    yield blocks.Table(
      ("flag", "interferometers"), tuple(found.items()), "Flags"
    )
  if not fitted:
    yield blocks.Note("No interferometer could be fitted.", "warning")
    return
  rows = np.flatnonzero(known)
  rows = rows[
    np.linspace(0, fitted - 1, min(fitted, _SHOWN)).round().astype(int)
  ]
  if fitted > _SHOWN:
    yield blocks.Note(f"Shown are {_SHOWN:,} of them, evenly chosen.")
  yield _figures(method, state, known)
  yield from _staircase(method, state, rows, known)
  yield _histogram(
    np.asarray(state.buffers["rmse"])[rows],
    blocks.Axis("RMSE", "share of the mean response"),
    "Residuals of the interferometers",
  )
  yield from _reflectivity(method, state, rows)
  yield from _uncertainty(method, state, rows)
  yield _table(method, state, rows)


def _figures(method: Any, state: State, known: np.ndarray) -> blocks.Table:
  rmse = np.asarray(state.buffers["rmse"])[known]
  line, _ = _line(method, state, known)
  settled = (np.asarray(state.buffers["flags"]) & flags.NOT_CONVERGED) == 0
  tolerance = method.config.flags.staircase
  rows: list[tuple] = [
    ("RMSE of all", float(np.sqrt(np.mean(rmse**2))), "share of the mean"),
    ("median RMSE", float(np.median(rmse)), "share of the mean"),
    ("converged", int((settled & known).sum()), "interferometers"),
  ]
  if line:
    rows += [
      ("step of the OPD", line.step, _UM),
      ("OPD of interferometer 0", line.offset, _UM),
      ("deviation from the staircase", line.residual, _UM),
      (f"OPDs within {tolerance:g} {_UM} of it", 100 * line.near, "%"),
    ]
  return blocks.Table(
    ("figure", "value", "unit"), tuple(rows), "Figures of the device"
  )


def _line(method: Any, state: State, known: np.ndarray) -> tuple:
  nominal = method.source.nominal_of(np.arange(len(known)))
  return flags.staircase(
    np.asarray(state.params["interferometers"]["opd"]),
    method.numbers,
    known,
    method.config.flags.staircase,
    nominal,
  )


def _staircase(
  method: Any, state: State, rows: np.ndarray, known: np.ndarray
) -> Iterator[blocks.Curve]:
  """The OPDs over the number of their interferometer, and about their line."""
  opd = np.asarray(state.params["interferometers"]["opd"])[rows]
  found, line = _line(method, state, known)
  if not found:
    return
  nominal = method.source.nominal_of(rows)
  number = method.numbers[rows]
  order = np.argsort(number, kind="stable")
  x = number[order].astype(float)
  lines = [
    blocks.Series("fitted", x, opd[order]),
    blocks.Series("line", x, line[rows][order]),
  ]
  if np.isfinite(nominal).all():
    lines.append(blocks.Series("nominal", x, nominal[order]))
  yield blocks.Curve(
    tuple(lines), _NUMBER, blocks.Axis("OPD", _UM), "Staircase"
  )
  yield blocks.Curve(
    (
      blocks.Series("fitted \N{MINUS SIGN} line", x, (opd - line[rows])[order]),
    ),
    _NUMBER,
    blocks.Axis("distance", _UM),
    "Distance from the staircase",
  )


def _histogram(
  values: Float[np.ndarray, " n"], axis: blocks.Axis, caption: str
) -> blocks.Curve:
  """How many values lie in each of some bins, as steps."""
  counts, edges = np.histogram(values, min(30, max(5, len(values) // 8)))
  x = np.repeat(edges, 2)
  y = np.concatenate([[0.0], np.repeat(counts, 2), [0.0]])
  return blocks.Curve(
    (blocks.Series("interferometers", x, y.astype(float)),),
    axis,
    blocks.Axis("interferometers"),
    caption,
  )


def _reflectivity(
  method: Any, state: State, rows: np.ndarray
) -> Iterator[blocks.Curve]:
  """What lies between most interferometers."""
  s = method.source.wavenumbers
  made = state.params["interferometers"]
  r = np.asarray(
    method.model.reflectivities(s, np.asarray(made["reflectivity"])[rows])
  ).astype(float)
  for name, values in (
    ("Reflectivity", r),
    ("Finesse", np.asarray(transfer.finesse(r)).astype(float)),
  ):
    ends = np.percentile(values, (10, 50, 90), axis=0)
    yield blocks.Curve(
      tuple(
        blocks.Series(text, s, y)
        for text, y in zip(
          ("a tenth lies below", "median", "a tenth lies above"),
          ends,
          strict=True,
        )
      ),
      blocks.Axis("wavenumber", f"1/{_UM}"),
      blocks.Axis(name.lower()),
      f"{name} of the interferometers",
    )


def _uncertainty(
  method: Any, state: State, rows: np.ndarray
) -> Iterator[blocks.Block]:
  """How well the data tell each parameter."""
  deviations = np.asarray(state.buffers["deviations"])[rows]
  end = 3 + method.model.reflectivity
  gain = np.abs(np.asarray(state.params["interferometers"]["gain"])[rows, 0])
  named = (
    ("OPD", deviations[:, 0], _UM),
    ("phase shift", deviations[:, 1], "rad"),
    ("mean of the gain", 100 * deviations[:, end] / gain, "%"),
  )
  yield blocks.Table(
    ("parameter", "median deviation", "nine in ten lie below", "unit"),
    tuple(
      (name, float(np.median(v)), float(np.percentile(v, 90)), unit)
      for name, v, unit in named
    ),
    "Uncertainty of the parameters",
  )
  yield blocks.Sentence(
    "A deviation is that of a Gaussian: the root of the diagonal of the"
    " residual variance times the inverse of the normal equations. It tells"
    " what noise does, not what the model leaves out."
  )


def _table(method: Any, state: State, rows: np.ndarray) -> blocks.Table:
  made, of = state.params["interferometers"], state.buffers
  s = method.source.wavenumbers
  r = np.asarray(
    method.model.reflectivities(s, np.asarray(made["reflectivity"])[rows])
  ).mean(axis=1)
  finesse = np.asarray(transfer.finesse(r))
  return blocks.Table(
    (
      "interferometer",
      f"OPD ({_UM})",
      "\N{PLUS-MINUS SIGN}",
      "phase shift (rad)",
      "reflectivity",
      "finesse",
      "RMSE",
      "steps",
      "flags",
    ),
    tuple(
      (
        method.source.name(row),
        float(made["opd"][row]),
        float(of["deviations"][row, 0]),
        float(made["phase"][row]),
        float(r[i]),
        float(finesse[i]),
        float(of["rmse"][row]),
        int(of["steps"][row]),
        flags.words(int(of["flags"][row])),
      )
      for i, row in enumerate(rows.tolist())
    ),
    "Interferometers",
  )
