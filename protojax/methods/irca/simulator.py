"""What a characterized device makes of a scene: an interferogram per pixel.

A pixel of spectrum x(s) gives interferometer i the sum over s of T_i(s) x(s),
where T_i is divided by its mean over s, as in the authors' simulator. At a
field angle theta the OPD is that on the axis times cos theta.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax import parallel
from protojax.methods.irca import flags
from protojax.types import Array, ArrayLike, Batch, State, UserError

# Pixels of one step on one device, of a scene seen at an angle and without.
_AT_AN_ANGLE, _AT_ONCE = 8, 512
# Wavenumbers may be off the calibrated range by rounding.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Simulator:
  """The `simulates` of IRCA."""

  method: Any

  def simulate(
    self, state: State, inputs: Mapping[str, ArrayLike]
  ) -> Mapping[str, Any]:
    """Interferograms of a scene: "interferograms" [H W i].

    Args:
      state: of the method.
      inputs: "cube" [H W c], the scene; "wavenumbers" [c] in 1/um, those of
        the sources without; "field_of_view", the field angle of its first
        pixel in degrees, 0 without.

    Raises:
      UserError: they do not fit together, or not to the characterization.
    """
    cube = np.asarray(inputs["cube"])
    s = inputs.get("wavenumbers", self.method.source.wavenumbers)
    s = np.asarray(s, np.float64)
    angle = float(inputs.get("field_of_view", np.zeros(())))
    self._require(cube, s, angle)
    usable = flags.usable(np.asarray(state.buffers["flags"]))
    if not usable.all():
      parallel.say(
        f"note: {int((~usable).sum())} interferometers were not characterized;"
        " they see nothing"
      )
    height, width, bands = cube.shape
    pixels: dict[str, np.ndarray] = {
      "spectrum": cube.reshape(-1, bands).astype(np.float64)
    }
    step = functools.partial(self._plain, tuple(s.tolist()))
    if angle:
      cosine = np.cos(angles((height, width), angle))
      pixels["cosine"] = cosine.reshape(-1)
      step = functools.partial(self._tilted, tuple(s.tolist()))
    each = _AT_AN_ANGLE if angle else _AT_ONCE
    with jax.enable_x64(self.method.config.precision == "float64"):
      made = state.params["interferometers"]
      rows = [
        found[batch["valid"]]
        for batch, found in parallel.each(step, made, _batches(pixels, each))
      ]
    found = np.concatenate(rows).reshape(height, width, -1)
    return {"interferograms": np.where(usable[None, None], found, 0.0)}

  def _require(
    self, cube: np.ndarray, s: Float[np.ndarray, " c"], angle: float
  ) -> None:
    real = np.issubdtype(cube.dtype, np.floating)
    real |= np.issubdtype(cube.dtype, np.integer)
    if cube.ndim != 3 or not cube.size or not real:
      raise UserError(
        f"the cube is {cube.dtype} of shape {cube.shape}; expected real numbers"
        " [rows columns wavenumbers]"
      )
    if not np.isfinite(cube).all():
      raise UserError("the cube has values that are not finite")
    if s.shape != cube.shape[2:]:
      raise UserError(
        f"the cube has {cube.shape[2]} bands and there are {s.size}"
        " wavenumbers: name one for each band with --wavenumbers=FILE.npy"
      )
    low, high = self.method.model.ends
    outside = ~((s >= low - _ROUNDING) & (s <= high + _ROUNDING))
    if outside.any():
      raise UserError(
        f"{int(outside.sum())} of {s.size} bands are outside of the calibrated"
        f" {low:g} to {high:g} 1/um, where a polynomial says nothing: leave"
        " them out"
      )
    if not 0 <= angle < 90:
      raise UserError(
        f"the field angle is {angle:g} degrees; expected 0 or more, below 90"
      )
    if len(self.method.source.shape) > 1:
      raise UserError(
        "this run characterizes every pixel; to simulate a scene, characterize"
        " a device: data.npy [interferometers sources]"
      )

  def _matrix(
    self, made: Mapping[str, Array], s: tuple[float, ...], cosine: ArrayLike
  ) -> Float[Array, "i c"]:
    """Transmittances over their means."""
    tilted: dict[str, Any] = {**made, "opd": made["opd"] * cosine}
    found = self.method.transfer(tilted, np.array(s))
    mean = jnp.mean(found, axis=1, keepdims=True)
    return jnp.where(mean == 0, 0, found / jnp.where(mean == 0, 1, mean))

  def _plain(
    self, s: tuple[float, ...], made: Mapping[str, Array], batch: Batch
  ) -> Array:
    matrix = self._matrix(made, s, jnp.ones(()))
    return jnp.matmul(batch["spectrum"], matrix.T, precision="highest")

  def _tilted(
    self, s: tuple[float, ...], made: Mapping[str, Array], batch: Batch
  ) -> Array:
    def one(spectrum: Array, cosine: Array) -> Array:
      matrix = self._matrix(made, s, cosine)
      return jnp.matmul(matrix, spectrum, precision="highest")

    return jax.vmap(one)(batch["spectrum"], batch["cosine"])


def angles(shape: tuple[int, int], corner: float) -> Float[np.ndarray, "H W"]:
  """Field angle of each pixel in radians; it grows with the distance.

  Args:
    shape: rows and columns.
    corner: the angle of the first pixel, in degrees.
  """
  rows, columns = (np.arange(n) - n / 2 for n in shape)
  apart = np.hypot(rows[:, None], columns[None])
  return np.deg2rad(corner) * apart / apart[0, 0]


def _batches(
  pixels: Mapping[str, np.ndarray], each: int
) -> Iterator[dict[str, np.ndarray]]:
  """Batches of pixels, the last one padded; each process gets its share."""
  count = len(pixels["spectrum"])
  size = each * parallel.device_count()
  process, processes = parallel.process_index_count()
  mine = slice(process * size // processes, (process + 1) * size // processes)
  for begin in range(0, count, size):
    at = np.arange(begin, begin + size)[mine]
    inside = np.minimum(at, count - 1)
    yield {
      "valid": at < count,
      **{name: x[inside] for name, x in pixels.items()},
    }
