"""Masks of the parts of objects: which part of its object a pixel shows.

A PNG of numbers, 0 for none; or a TIFF of Cityscapes- or Pascal-Panoptic-Parts
(de Geus et al., CVPR 2021), whose numbers hold class, object and part:
class x 100,000 + object x 100 + part, or fewer digits where there is no part.
"""

from jaxtyping import Int32
import numpy as np
from PIL import Image

from protojax.data import images as images_lib
from protojax.types import UserError

_WITH_PARTS = 100_000
SUFFIXES = (".png", ".tif", ".tiff")


def read(path: str, shape: tuple[int, ...]) -> Int32[np.ndarray, "H W"]:
  """The part of each pixel, 0 for none.

  Args:
    path: of the mask.
    shape: height and width of its image, and whatever follows them.

  Raises:
    UserError: it cannot be read, or has another size than its image.
  """
  try:
    with images_lib.opened(path) as image:
      image.load()
      colours = image.mode in ("RGB", "RGBA")
      numbers = np.asarray(image)
  except Image.UnidentifiedImageError as error:
    raise UserError(
      f"the parts {path} are no image that Pillow can read"
    ) from error
  except Exception as error:
    raise UserError(f"the parts {path} cannot be read: {error}") from error
  if colours or numbers.ndim != 2:
    raise UserError(
      f"the parts {path} have colours; save the number of each part"
    )
  if numbers.shape != tuple(shape[:2]):
    raise UserError(
      f"the parts {path} have {numbers.shape[0]} x {numbers.shape[1]} pixels"
      f" and their image {shape[0]} x {shape[1]}: save both at one size"
    )
  numbers = numbers.astype(np.int64)
  if not path.lower().endswith(".png"):
    numbers = np.where(numbers >= _WITH_PARTS, numbers % 100, 0)
  return numbers.astype(np.int32)
