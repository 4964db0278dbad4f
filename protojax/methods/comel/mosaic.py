"""A bag as a picture: its tiles and numbers where its instances lie."""

from jaxtyping import Float, Int, UInt8
import numpy as np
from PIL import Image

_SIDE = 768  # of a picture, in pixels, at most
_MOST = 2000  # cells on a side: places farther apart are brought together
_PAPER = 255  # where there is no tile


def cells(places: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n 2"]:
  """Column and row of each instance in the grid that its places make.

  The step of the grid is the smallest distance on an axis.
  """
  off = places - places.min(axis=0)[None]
  steps = [gaps for axis in off.T if (gaps := np.diff(np.unique(axis))).size]
  step = min((float(gaps.min()) for gaps in steps), default=1.0)
  step = max(step, float(off.max(initial=0.0)) / _MOST, 1e-9)
  return np.round(off / step).astype(int)


def values(
  cells: Int[np.ndarray, "n 2"], numbers: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "h w"]:
  """A number for each cell: the largest of its instances, nan without one."""
  columns, rows = cells.max(axis=0) + 1
  found = np.full((rows, columns), -np.inf, np.float32)
  np.maximum.at(found, (cells[:, 1], cells[:, 0]), numbers)
  return np.where(np.isfinite(found), found, np.nan).astype(np.float32)


def picture(
  cells: Int[np.ndarray, "n 2"], tiles: UInt8[np.ndarray, "n h w 3"]
) -> UInt8[np.ndarray, "H W 3"]:
  """The tiles side by side, each as large as there is room for."""
  columns, rows = cells.max(axis=0) + 1
  side = int(np.clip(_SIDE // max(columns, rows), 1, tiles.shape[1]))
  found = np.full((rows * side, columns * side, 3), _PAPER, np.uint8)
  for (column, row), tile in zip(cells, tiles, strict=True):
    small = Image.fromarray(tile).resize((side, side), Image.Resampling.BOX)
    y, x = row * side, column * side
    found[y : y + side, x : x + side] = np.asarray(small)
  return found
