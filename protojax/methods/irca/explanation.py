"""Explains a characterization: the device as a whole, and single curves."""

from collections.abc import Iterator
import dataclasses
import functools
from typing import Any

from jaxtyping import Float
import numpy as np

from protojax.data.stream import Stream
from protojax.explain import blocks, in_blocks
from protojax.explain.request import Request
from protojax.methods.irca import device_overview, flags, transfer
from protojax.types import State

# Explanations without a limit, and how many are grouped on a page.
_MOST, _GROUP = 1000, 50
_SOURCES = blocks.Axis("wavenumber", "1/\N{MICRO SIGN}m")


def explain(
  method: Any, state: State, data: Stream, request: Request
) -> Iterator[blocks.Explanation]:
  """The device, and the curves of some interferometers.

  Without a limit these are all, or a thousand of more than that.
  """
  yield device_overview.overview(method, state)
  curves = _Curves(method)
  batches = data.spread(in_blocks.limit(request, _MOST))
  for one, row in in_blocks.swept(method.predict, state, batches, request):
    yield curves.one(state, int(one["index"]), one["data"], row["transfer"])


EXPLAINER = functools.partial(in_blocks.Explainer, explain, in_blocks.LOCAL)


@dataclasses.dataclass(frozen=True)
class _Curves:
  """Explains single interferometers of a method."""

  method: Any

  def one(
    self,
    state: State,
    row: int,
    data: Float[np.ndarray, " c"],
    fitted: Float[np.ndarray, " c"],
  ) -> blocks.Explanation:
    """The response of one interferometer, its fit and what is left."""
    source, mark = self.method.source, int(state.buffers["flags"][row])
    name = source.name(row)
    first = row // _GROUP * _GROUP
    last = min(first + _GROUP, len(source)) - 1
    return blocks.Explanation(
      key=f"row-{row}",
      title=_title(state, row, mark),
      scope="local",
      subject=name,
      group=f"Interferometers {first} to {last}",
      blocks=(
        *_notes(mark),
        *self._curves(state, row, mark, data, fitted.astype(float)),
      ),
    )

  def _curves(
    self,
    state: State,
    row: int,
    mark: int,
    data: Float[np.ndarray, " c"],
    fitted: Float[np.ndarray, " c"],
  ) -> Iterator[blocks.Block]:
    s = self.method.source.wavenumbers
    lines = [blocks.Series("measured", s, data)]
    if mark & flags.UNUSABLE:
      yield blocks.Curve(
        tuple(lines), _SOURCES, blocks.Axis("response"), "Response"
      )
      return
    lines.append(blocks.Series("fitted", s, fitted))
    yield blocks.Curve(
      tuple(lines), _SOURCES, blocks.Axis("response"), "Response"
    )
    residual = (data - fitted) / data.mean()
    yield blocks.Curve(
      (blocks.Series("measured \N{MINUS SIGN} fitted", s, residual),),
      _SOURCES,
      blocks.Axis("residual", "share of the mean response"),
      "Residual",
    )
    yield self._table(state, row)

  def _table(self, state: State, row: int) -> blocks.Table:
    """The parameters of an interferometer with their deviations."""
    made = state.params["interferometers"]
    of, s = state.buffers, self.method.source.wavenumbers
    r = self.method.model.reflectivities(
      s, np.asarray(made["reflectivity"])[row : row + 1]
    )
    mean = float(np.mean(r))
    deviations = np.asarray(of["deviations"])[row]
    opd, phase = (float(made[name][row]) for name in ("opd", "phase"))
    finesse = float(transfer.finesse(np.array(mean)))
    return blocks.Table(
      ("parameter", "value", "deviation", "unit"),
      (
        ("OPD", opd, float(deviations[0]), "\N{MICRO SIGN}m"),
        ("phase shift", phase, float(deviations[1]), "rad"),
        ("mean reflectivity", mean, None, ""),
        ("finesse at it", finesse, None, ""),
        ("RMSE", float(of["rmse"][row]), None, "share of the mean response"),
        ("steps", int(of["steps"][row]), None, ""),
      ),
      "Parameters",
    )


def _title(state: State, row: int, mark: int) -> str:
  """What was found of an interferometer, in a line."""
  if mark & flags.UNUSABLE:
    return "Not fitted"
  opd = float(state.params["interferometers"]["opd"][row])
  rmse = float(state.buffers["rmse"][row])
  return f"OPD {opd:.4g} \N{MICRO SIGN}m, RMSE {rmse:.3g}"


def _notes(mark: int) -> Iterator[blocks.Note]:
  for bit, meaning in flags.MEANINGS.items():
    if mark & bit:
      yield blocks.Note(meaning[0].upper() + meaning[1:] + ".", "warning")
