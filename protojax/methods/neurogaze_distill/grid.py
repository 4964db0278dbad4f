"""A grid over two continuous numbers, such as valence and arousal.

Cell r * columns + c is row r of the first number and column c of the second
(section 3: a 5 x 5 grid on valence and arousal, each in [-1, 1]).
"""

import dataclasses

from jaxtyping import Float, Int32
import numpy as np

from protojax.types import ArrayLike, UserError


@dataclasses.dataclass(frozen=True)
class Grid:
  """Cells of equal size.

  Attributes:
    rows: cells along the first number.
    columns: cells along the second number.
    low: smallest values of the two numbers.
    high: their largest values.
    axes: what the two numbers are.
  """

  rows: int
  columns: int
  low: tuple[float, float] = (-1.0, -1.0)
  high: tuple[float, float] = (1.0, 1.0)
  axes: tuple[str, str] = ("valence", "arousal")

  def __post_init__(self) -> None:
    for low, high in zip(self.low, self.high, strict=True):
      if not low < high:
        raise UserError(
          f"the grid goes from {self.low} to {self.high}; each number of"
          " --config.bank.low must be below that of --config.bank.high"
        )

  def __len__(self) -> int:
    return self.rows * self.columns

  def cells(self, targets: Float[ArrayLike, "n 2"]) -> Int32[np.ndarray, "n"]:
    """The cell of each pair; those outside of the grid go to its border.

    A value on the border of two cells is in the upper one. Values are compared
    with the borders in float32: (v + 1) / 0.4 would put 0.2 below its border.
    """
    targets = np.asarray(targets, np.float32)
    row, column = (
      np.searchsorted(self._borders(axis), targets[:, axis], side="right")
      for axis in (0, 1)
    )
    return (row * self.columns + column).astype(np.int32)

  def _borders(self, axis: int) -> Float[np.ndarray, " n"]:
    """The values between the cells along one of the two numbers."""
    count = (self.rows, self.columns)[axis]
    ends = np.linspace(self.low[axis], self.high[axis], count + 1)
    return ends[1:-1].astype(np.float32)

  @property
  def centers(self) -> Float[np.ndarray, "p 2"]:
    """The middle of each cell."""
    first, second = (
      low + (np.arange(count) + 0.5) * (high - low) / count
      for low, high, count in zip(
        self.low, self.high, (self.rows, self.columns), strict=True
      )
    )
    pairs = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1)
    return pairs.reshape(-1, 2).astype(np.float32)

  @property
  def names(self) -> tuple[str, ...]:
    """The middle of each cell, such as "valence -0.8 / arousal +0.4"."""
    one, other = self.axes
    return tuple(
      f"{one} {first:+.2g} / {other} {second:+.2g}"
      for first, second in self.centers
    )
