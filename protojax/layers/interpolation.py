"""Weights of cubic interpolation, for networks and for similarity maps."""

from jaxtyping import Float
import numpy as np


def cubic(
  cells: int, points: int, step: float | None = None
) -> Float[np.ndarray, "points cells"]:
  """Weight of each cell in each point, along one axis (Keys, 1981).

  As OpenCV's INTER_CUBIC and PyTorch's bicubic without antialias: a = -0.75,
  border cells repeated. `jax.image.resize` has another a and another border.

  Args:
    cells: number of cells that are given.
    points: number of points of the result.
    step: cells from one point to the next; None lets the outer edges of both
      coincide.
  """
  a, step = -0.75, cells / points if step is None else step
  centre = (np.arange(points) + 0.5) * step - 0.5
  first = np.floor(centre).astype(int) - 1
  matrix = np.zeros((points, cells))
  for tap in range(4):
    far = np.abs(centre - (first + tap))
    near = ((a + 2) * far - (a + 3)) * far**2 + 1
    beyond = ((far - 5) * far + 8) * far * a - 4 * a
    cell = np.clip(first + tap, 0, cells - 1)
    share = np.where(far <= 1, near, beyond)
    np.add.at(matrix, (np.arange(points), cell), share)
  return matrix.astype(np.float32)
