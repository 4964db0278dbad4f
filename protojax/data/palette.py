"""Colours of classes, to show classes of pixels as pictures."""

from jaxtyping import Int, UInt8
import numpy as np

from protojax.types import Picture

# Told apart on grey; further classes repeat them darker.
_COLOURS = (
  *((230, 75, 60), (60, 150, 230), (70, 170, 70), (245, 190, 40)),
  *((170, 80, 200), (50, 190, 180), (240, 130, 40), (235, 110, 170)),
  *((120, 90, 60), (160, 200, 60), (90, 100, 220), (150, 150, 150)),
)
_DARKER = 0.62
# What is no class.
NONE = (0, 0, 0)


def colours(count: int) -> UInt8[np.ndarray, "count 3"]:
  """A colour for each class; the first ones do not depend on the count."""
  base = np.array(_COLOURS, float)
  numbers = np.arange(count)
  shades = _DARKER ** (numbers // len(base))
  found = base[numbers % len(base)] * shades[:, None]
  return np.rint(found).astype(np.uint8)


def painted(
  image: Picture, classes: Int[np.ndarray, "H W"], count: int
) -> Picture:
  """The image in grey under the colours of the classes of its pixels.

  Args:
    image: its pixels.
    classes: of its pixels; what is none of the `count` stays black and grey.
    count: of classes.
  """
  table = np.concatenate([colours(count), [NONE]]).astype(float)
  known = (classes >= 0) & (classes < count)
  over = table[np.where(known, classes, count)]
  grey = image.mean(axis=2, keepdims=True)
  return np.rint(0.45 * grey + 0.55 * over).astype(np.uint8)
