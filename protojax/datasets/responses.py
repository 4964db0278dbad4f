"""Responses of interferometers to monochromatic sources, as a source.

An example is one interferometer, or one of a pixel: what it measured of each
source. It has no image and no class.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
from jaxtyping import Float, Int, Int32
import numpy as np

from protojax.data.fields import Field
from protojax.types import PyTree

# Names of the curves of an example.
CURVES = ("data", "mean", "norm")


@dataclasses.dataclass(frozen=True)
class Curve:
  """A number for each source: float64 [length]; nan is let through.

  Attributes:
    length: number of sources.
  """

  length: int

  def layout(self, size: int) -> PyTree:
    """Shape and dtype."""
    return jax.ShapeDtypeStruct((self.length,), np.float64)

  def read(self, value: Any, frame: Any) -> PyTree:
    """Takes the numbers."""
    return np.asarray(value, np.float64)

  def moved(self, value: PyTree, drawn: Any) -> PyTree:
    """The curve as it is."""
    return value


@dataclasses.dataclass(frozen=True, eq=False)
class Responses:
  """The responses of a device's interferometers.

  Attributes:
    title: what they are called.
    wavenumbers: of the sources in 1/um, ascending.
    data: responses, in counts.
    mean: smoother responses, from which a fit begins.
    norm: flat field; one for all, or one for each row.
    nominal: OPD in um of each interferometer by the device's sheet; nan if it
      is unknown. The interferometer of row i is i modulo their number.
    shape: of the rows, such as pixels by pixels by interferometers.
    notes: what was put right when they were read, in lines.
    order: of the sources in the arrays, if that is not ascending.
  """

  title: str
  wavenumbers: Float[np.ndarray, " c"]
  data: Float[np.ndarray, "n c"]
  mean: Float[np.ndarray, "n c"]
  norm: Float[np.ndarray, "m c"]
  nominal: Float[np.ndarray, " i"]
  shape: tuple[int, ...]
  notes: tuple[str, ...] = ()
  order: Int[np.ndarray, " c"] | None = None

  class_names: ClassVar[tuple[str, ...]] = ()
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()

  @property
  def fields(self) -> Mapping[str, Field]:
    """Three curves."""
    return {name: Curve(len(self.wavenumbers)) for name in CURVES}

  @property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """There are none."""
    return np.full(len(self), -1, np.int32)

  def __len__(self) -> int:
    return len(self.data)

  def name(self, i: int) -> str:
    """Number of an interferometer, and of its pixel if there are some."""
    *pixel, number = np.unravel_index(i, self.shape)
    if not pixel:
      return f"interferometer {number}"
    return f"pixel {', '.join(map(str, pixel))}, interferometer {number}"

  def __getitem__(self, i: int) -> dict[str, Any]:
    curves = self.data[i], self.mean[i], self.norm[i % len(self.norm)]
    if self.order is not None:
      curves = tuple(curve[self.order] for curve in curves)
    return {**dict(zip(CURVES, curves, strict=True)), "name": self.name(i)}

  def nominal_of(self, rows: Int[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """The nominal OPD of some rows, in um."""
    return self.nominal[rows % len(self.nominal)]
