"""IRCA: what every interferometer of a spectrometer lets through.

Picone et al., Optics Express 31(14), 2023 (10.1364/OE.491698). From responses
to monochromatic sources: the gain from the flat field, a start from a
periodogram, and least squares of the whole curve. There are no images, no
classes and no gradient descent; each step is one sweep.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

from absl import logging
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
from ml_collections import ConfigDict
import numpy as np

from protojax import datasets, parallel
from protojax.data import stream as stream_lib
from protojax.engine.stage import Pass
from protojax.methods.base import NO_ASSETS, Capabilities
from protojax.methods.irca import (
  explanation,
  flags,
  presets,
  refine,
  settings,
  simulator,
  start,
)
from protojax.methods.irca.model import Model
from protojax.types import Array, ArrayLike, Batch, Metrics, State


class Method:
  """IRCA as its config says; see `configs/irca_folder.py`."""

  splits = ("test",)
  assets = NO_ASSETS
  capabilities = Capabilities(
    explains=explanation.EXPLAINER, simulates=simulator.Simulator
  )

  def __init__(self, config: ConfigDict, class_names: None = None) -> None:
    del class_names  # There are none.
    settings.require(config)
    self.config = config
    c = config.start
    self._window = presets.load(config.preset, c.minimum, c.span)
    self._double = config.precision == "float64"

  @functools.cached_property
  def source(self) -> Any:
    """The responses: a `datasets.responses.Responses`."""
    data = self.config.data
    return datasets.find(data.name).load(data, "test", self.config.seed)

  @functools.cached_property
  def model(self) -> Model:
    """What is fitted."""
    c, s = self.config, self.source.wavenumbers
    model = Model(
      c.waves,
      c.bounded,
      c.degrees.reflectivity,
      c.degrees.gain,
      (float(s[0]), float(s[-1])),
    )
    fitted = int(model.of_groups(c.free).sum())
    settings.require_sources(len(s), fitted)
    return model

  def stream(self, split: str) -> stream_lib.Stream:
    """All interferometers, whatever the split."""
    del split
    size = min(self.config.batch_size, len(self.source))
    return stream_lib.ordered(self.source, 0, size, cache_bytes=0)

  # The algorithm.

  def init(self, key: Array) -> State:
    """Zeros in float64: a run in float32 keeps what it found as it is."""
    del key
    n, m = len(self.source), self.model
    with jax.enable_x64(True):
      zeros = functools.partial(jnp.zeros, dtype=jnp.float64)
      params = {
        "opd": zeros(n),
        "phase": zeros(n),
        "reflectivity": zeros((n, m.reflectivity + 1)),
        "gain": zeros((n, m.gain + 1)),
      }
      buffers = {
        "rmse": zeros(n),
        "deviations": zeros((n, m.unknowns)),
        "flags": jnp.zeros(n, jnp.int32),
        "steps": jnp.zeros(n, jnp.int32),
      }
      if self.config.refine.covariance:
        buffers["covariance"] = zeros((n, m.unknowns, m.unknowns))
    return State({"interferometers": params}, {}, buffers)

  def stages(self) -> Iterator[Pass]:
    """The three steps."""
    data = self.stream("test")
    yield Pass("gain", self.gain, data)
    yield Pass("start", self.start, data)
    yield Pass("refine", self.refine, data)

  def gain(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Step 1, and which interferometers can be fitted at all."""
    for note in self.source.notes:
      parallel.say(f"note: {note}")
    rows = self._swept(self._gain, data)
    found = flags.counts(rows["flags"])
    for meaning, count in found.items():
      parallel.say(
        f"note: {count} of {len(data)} interferometers are left out: {meaning}"
      )
    if not flags.usable(rows["flags"]).any():
      logging.warning(flags.NONE_LEFT)
    nothing = np.zeros(len(data))
    params = {
      "opd": nothing,
      "phase": nothing,
      "reflectivity": np.asarray(self.model.constant(nothing), float),
      "gain": rows["gain"],
    }
    buffers = {**state.buffers, "flags": rows["flags"]}
    state = State({"interferometers": params}, {}, buffers)
    return state, {"left_out": sum(found.values())}

  def start(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Step 2."""
    given = {**self._given(state), "nominal": self._nominal}
    rows = self._swept(self._start, data, given)
    params = {**state.params["interferometers"], **rows}
    return state.replace(params={"interferometers": params}), {}

  def refine(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Step 3, uncertainties, and flags."""
    _, line = self._staircase(state)
    given = {**self._given(state), "line": line}
    numbers = settings.numbers(self.config, self.model)
    rows = self._swept(self._refine, data, given, numbers)
    names = "opd", "phase", "reflectivity", "gain"
    params = {name: rows[name] for name in names}
    kept = {name: rows[name] for name in state.buffers}
    state = State({"interferometers": params}, {}, kept)
    state = self._flagged(state)
    marks = np.asarray(state.buffers["flags"])
    for meaning, count in flags.counts(marks & ~flags.UNUSABLE).items():
      parallel.say(
        f"note: {count} of {len(data)} interferometers are flagged: {meaning}"
      )
    return state, {"steps": float(rows["steps"].mean())}

  # What a sweep makes of a batch.

  def _gain(self, state: Any, batch: Batch) -> Mapping[str, Array]:
    del state
    curves = [batch[name] for name in ("data", "mean", "norm")]
    finite = jnp.all(
      jnp.stack([jnp.isfinite(c).all(axis=1) for c in curves]), axis=0
    )
    bright = jnp.all(jnp.stack([c.mean(axis=1) > 0 for c in curves]), axis=0)
    usable = finite & bright
    norm, mean = (jnp.where(usable[:, None], c, 1.0) for c in curves[:0:-1])
    found = start.gain(norm, mean, self._basis)
    return {
      "gain": jnp.where(usable[:, None], found, 0),
      "flags": jnp.where(
        finite, jnp.where(bright, 0, flags.NO_SIGNAL), flags.NOT_FINITE
      ).astype(jnp.int32),
    }

  def _start(self, state: Any, batch: Batch) -> Mapping[str, Array]:
    del state
    c, s, m = self.config.start, self.source.wavenumbers, self.model
    usable = _usable(batch)
    flat = batch["gain"] @ jnp.asarray(self._basis.T, batch["gain"].dtype)
    fringes = batch["mean"] / flat - 1
    fringes = jnp.where(usable[:, None] & jnp.isfinite(fringes), fringes, 0)
    opd = start.opd(fringes, s, batch["nominal"], c.samples, *self._window)
    found = start.fringe(fringes, s, opd, c.inversion)
    zero = jnp.zeros_like(opd)
    r = m.constant(jnp.where(usable, found["reflectivity"], zero))
    return {
      "opd": jnp.where(usable, opd, zero),
      "phase": jnp.where(usable, found["phase"], zero),
      "reflectivity": r,
    }

  def _refine(self, numbers: Any, batch: Batch) -> Mapping[str, Array]:
    m, c = self.model, self.config.refine
    usable = _usable(batch)[:, None]
    data = jnp.where(usable, batch["data"], 1.0)
    level = jnp.mean(data, axis=1, keepdims=True)
    begin = m.encoded(
      batch["opd"], batch["phase"], batch["reflectivity"], batch["gain"] / level
    )
    found = refine.refine(
      m,
      settings.fit(self.config),
      numbers,
      self.source.wavenumbers,
      data / level,
      begin,
      batch["line"],
    )
    opd, phase, reflectivity, gain = m.decoded(found.unknowns)
    curve = m.reflectivities(self.source.wavenumbers, reflectivity)
    outside = (curve < 0) | (curve >= 1)
    outward = jnp.asarray(m.outward(), data.dtype)
    covariance = outward[None] @ found.covariance @ outward.T[None]
    scale = jnp.where(jnp.arange(m.unknowns) < m.unknowns - m.gain - 1, 1, 0)
    scale = jnp.where(scale[None] == 1, 1.0, level)
    covariance = covariance * scale[:, :, None] * scale[:, None, :]
    variances = jnp.diagonal(covariance, axis1=1, axis2=2)
    marks = batch["flags"]
    marks |= jnp.where(outside.any(axis=1), flags.REFLECTIVITY, 0)
    marks |= jnp.where(found.converged, 0, flags.NOT_CONVERGED)
    rows = {
      "opd": opd,
      "phase": phase,
      "reflectivity": reflectivity,
      "gain": gain * level,
      "rmse": found.rmse,
      "deviations": jnp.sqrt(variances),
      "steps": found.steps,
    }
    if c.covariance:
      rows["covariance"] = covariance
    kept = {
      name: jnp.where(_like(usable, row), row, 0) for name, row in rows.items()
    }
    marks = jnp.where(usable[:, 0], marks, batch["flags"])
    return {**kept, "flags": marks.astype(jnp.int32)}

  # Around them.

  @functools.cached_property
  def _basis(self) -> Float[np.ndarray, "c k"]:
    return self.model.basis(self.source.wavenumbers, self.model.gain)

  @functools.cached_property
  def _nominal(self) -> Float[np.ndarray, " n"]:
    return self.source.nominal_of(np.arange(len(self.source)))

  @property
  def numbers(self) -> Int[np.ndarray, " n"]:
    """The number of each row's interferometer."""
    return np.arange(len(self.source)) % len(self.source.nominal)

  def _given(self, state: State) -> dict[str, np.ndarray]:
    """What a sweep needs of the state, one row for each interferometer."""
    return {**state.params["interferometers"], "flags": state.buffers["flags"]}

  def _swept(
    self,
    function: Any,
    data: stream_lib.Stream,
    given: Mapping[str, np.ndarray] | None = None,
    state: Any = (),
  ) -> dict[str, np.ndarray]:
    """Rows of all interferometers in their order, in the run's precision.

    No other program is made in float64: the context ends here.
    """
    rows = given or {}

    def batches() -> Iterator[Batch]:
      for batch in data.batches():
        yield {**batch, **{k: x[batch["index"]] for k, x in rows.items()}}

    with jax.enable_x64(self._double):
      found = [
        jax.tree.map(lambda x, valid=batch["valid"]: x[valid], made)
        for batch, made in parallel.each(function, state, batches())
      ]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    return {name: _stored(x) for name, x in joined.items()}

  def _staircase(
    self, state: State
  ) -> tuple[flags.Staircase | None, Float[np.ndarray, " n"]]:
    return flags.staircase(
      np.asarray(state.params["interferometers"]["opd"]),
      self.numbers,
      flags.usable(np.asarray(state.buffers["flags"])),
      self.config.flags.staircase,
      self._nominal,
    )

  def _flagged(self, state: State) -> State:
    """The state with flags that need all interferometers."""
    opd = np.asarray(state.params["interferometers"]["opd"])
    _, line = self._staircase(state)
    marks = np.asarray(state.buffers["flags"])
    usable = flags.usable(marks)
    least = start.smallest_opd(self.source.wavenumbers)
    off = np.abs(opd - line) > self.config.flags.staircase
    marks = flags.put(marks, flags.OPD_TOO_SMALL, usable & (opd < least))
    marks = flags.put(marks, flags.OFF_STAIRCASE, usable & off)
    return state.replace(buffers={**state.buffers, "flags": marks})

  # For the commands.

  def transfer(self, parameters: Mapping[str, Any], wavenumbers: Any) -> Array:
    """Transmittance in counts at wavenumbers.

    Args:
      parameters: "opd", "phase", "reflectivity" and "gain" of some
        interferometers.
      wavenumbers: in 1/um.
    """
    m = self.model
    names = "opd", "phase", "reflectivity", "gain"
    unknowns = m.encoded(*(jnp.asarray(parameters[name]) for name in names))
    return m.parts(wavenumbers, unknowns).value

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Fitted response to each source, in counts: "transfer"."""
    every = state.params["interferometers"]
    own = {name: jnp.asarray(x)[batch["index"]] for name, x in every.items()}
    return {"transfer": self.transfer(own, self.source.wavenumbers)}

  def _off(self, state: Any, batch: Batch) -> Mapping[str, Array]:
    del state
    usable = _usable(batch)[:, None]
    data = jnp.where(usable, batch["data"], 1.0)
    level = jnp.mean(data, axis=1, keepdims=True)
    fitted = self.transfer(batch, self.source.wavenumbers)
    off = jnp.where(usable, (fitted - data) / level, 0)
    own = data / level - 1
    return {
      "residual": jnp.mean(off**2, axis=1),
      "variance": jnp.mean(own**2, axis=1),
    }

  def evaluate(self, state: State, split: str) -> Metrics:
    """Errors of the curves as shares of the level, and the staircase.

    "rmse" is the root of the mean over interferometers of the mean square over
    sources; "explained" the share of the responses' variance that the curves
    explain, and alone, at 0, where no interferometer is fitted.
    """
    rows = self._swept(self._off, self.stream(split), self._given(state))
    marks = np.asarray(state.buffers["flags"])
    known = flags.usable(marks)
    if not known.any():
      return {"explained": 0.0}
    squares, own = rows["residual"][known], rows["variance"][known]
    line, _ = self._staircase(state)
    return {
      "rmse": float(np.sqrt(squares.mean())),
      "median_rmse": float(np.sqrt(np.median(squares))),
      "explained": float(1 - squares.sum() / max(own.sum(), 1e-300)),
      **({"staircase_residual": line.residual} if line else {}),
    }

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Errors, staircase, convergence and flags of the device."""
    marks = np.asarray(state.buffers["flags"])
    known = flags.usable(marks)
    line, _ = self._staircase(state)
    settled = (marks & flags.NOT_CONVERGED) == 0
    return {
      "headline": "explained",
      "interferometers": len(marks),
      "fitted": int(known.sum()),
      "converged": int((settled & known).sum()),
      **stages[-1]["metrics"],
      **({"staircase": line._asdict()} if line else {}),
      "flags": flags.counts(marks),
      **({} if known.any() else {"warning": flags.NONE_LEFT}),
    }


def _usable(batch: Batch) -> Array:
  """Rows that are fitted, on the device."""
  return (batch["flags"] & flags.UNUSABLE) == 0


def _like(mask: ArrayLike, row: Array) -> Array:
  return jnp.asarray(mask).reshape(-1, *[1] * (row.ndim - 1))


def _stored(x: np.ndarray) -> np.ndarray:
  return x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x
