"""Whether objects of an image are still there in another one.

Grey levels in each box, compared by correlation: a condition that makes all
darker, lighter or flatter leaves it at 1, and another object does not.
"""

from jaxtyping import Float, Num, UInt8
import numpy as np

_GREY = np.array([0.299, 0.587, 0.114])
_FLAT = 1e-6


def agreement(
  source: UInt8[np.ndarray, "H W 3"],
  result: UInt8[np.ndarray, "H W 3"],
  boxes: Num[np.ndarray, "n 4"],
) -> Float[np.ndarray, " n"]:
  """The correlation in each box, -1 to 1; nan where a box is of one level.

  Args:
    source, result: images of one size.
    boxes: top, left, bottom and right, in pixels.
  """
  before, after = source @ _GREY, result @ _GREY
  found = []
  for top, left, bottom, right in np.round(boxes).astype(int):
    place = np.s_[top : max(bottom, top + 1), left : max(right, left + 1)]
    found.append(_correlation(before[place].ravel(), after[place].ravel()))
  return np.array(found, float)


def _correlation(a, b):
  if not len(a):
    return np.nan
  a, b = a - a.mean(), b - b.mean()
  length = np.sqrt((a @ a) * (b @ b))
  return float(a @ b / length) if length > _FLAT else np.nan
