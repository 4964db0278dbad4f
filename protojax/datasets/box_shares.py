"""Bounding boxes of labelled objects: pixels <-> shares of the image.

TFDS stores a box as (top, left, bottom, right), in shares of the image. Whole
pixels that become shares become the same pixels again.
"""

from jaxtyping import Float, UInt8
import numpy as np


def shares(
  box: tuple[int, int, int, int], height: int, width: int
) -> Float[np.ndarray, "4"]:
  """A box of whole pixels -> shares, cut off at the border of the image.

  Args:
    box: left, top, width and height, in pixels.
    height: of the image.
    width: of the image.

  Raises:
    ValueError: nothing of the box lies in the image.
  """
  left, top = max(box[0], 0), max(box[1], 0)
  right, bottom = min(box[0] + box[2], width), min(box[1] + box[3], height)
  if right <= left or bottom <= top:
    raise ValueError(
      f"its box of {box[2]} x {box[3]} pixels at ({box[0]}, {box[1]}) lies"
      f" outside of its {width} x {height} pixels"
    )
  edges = top / height, left / width, bottom / height, right / width
  return np.array(edges, np.float32)


def cut(
  image: UInt8[np.ndarray, "H W 3"], boxes: Float[np.ndarray, "n 4"]
) -> UInt8[np.ndarray, "h w 3"]:
  """Pixels of an image in its box: rows y:y+h and columns x:x+w.

  Without a box, the whole image; of several boxes, the largest one.
  """
  top, left, bottom, right = largest(boxes, *image.shape[:2])
  return image[top:bottom, left:right]


def largest(
  boxes: Float[np.ndarray, "n 4"], height: int, width: int
) -> tuple[int, int, int, int]:
  """Top, left, bottom and right, in pixels, of the box that `cut` takes."""
  if not len(boxes):
    return 0, 0, height, width
  scale = np.array([height, width, height, width])
  # Rounded: shares of float32 miss their pixel by less than a thousandth.
  pixels = np.rint(np.asarray(boxes, np.float64) * scale).astype(int)
  areas = np.prod(pixels[:, 2:] - pixels[:, :2], axis=1)
  top, left, bottom, right = pixels[np.argmax(areas)]
  # A box without area becomes one pixel.
  top, left = min(top, height - 1), min(left, width - 1)
  bottom, right = max(bottom, top + 1), max(right, left + 1)
  return int(top), int(left), int(bottom), int(right)
