"""Boxes of the concepts in an image, and whether a point lies in one."""

from typing import NamedTuple

from jaxtyping import Float, Int
import numpy as np


class Places(NamedTuple):
  """Boxes of the concepts in one image.

  Attributes:
    concepts: number of the concept in each box.
    boxes: (top, left, bottom, right), in shares of the image.
  """

  concepts: Int[np.ndarray, " n"]
  boxes: Float[np.ndarray, "n 4"]

  def of(self, concept: int) -> Float[np.ndarray, "m 4"]:
    """The boxes of one concept."""
    return self.boxes[self.concepts == concept]


def holds(boxes: Float[np.ndarray, "n 4"], y: float, x: float) -> bool:
  """True if a point, in shares of the image, lies in one of the boxes.

  If the point is the most similar cell of a concept, this is a hit in the
  pointing game (Zhang et al., 1608.00507).
  """
  top, left, bottom, right = boxes.T
  return bool(np.any((top <= y) & (y < bottom) & (left <= x) & (x < right)))
