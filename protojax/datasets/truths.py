"""Reads masks: which pixels of an image are defective.

A mask is an image file of any format, of the size of its image. Masks are
checked when the data are opened, so that no evaluation stops in the middle.
"""

from collections.abc import Sequence
from concurrent import futures
import io
import os

from jaxtyping import Bool
import numpy as np
from PIL import Image, ImageOps

from protojax.data import images
from protojax.datasets import image_check
from protojax.types import UserError

_ORIENTATION = 0x0112  # EXIF; from 5 on, height and width are exchanged
_HALF = 128


def read(file: str | os.PathLike | bytes) -> Bool[np.ndarray, "H W"]:
  """Reads a mask, from a path or from the bytes of a file.

  Pixels at least half as bright as white are defective. If there are none, each
  pixel holds the number of a kind of defect, as in VisA, and all but 0 are
  defective. Transparent pixels are not defective.

  Raises:
    ValueError: says what is wrong, without the name of the mask.
  """
  try:
    with images.opened(file) as f:
      f.load()
      grey = _grey(ImageOps.exif_transpose(f))
  except Exception as e:
    raise ValueError(str(e) or type(e).__name__) from e
  bright = grey >= (_HALF if grey.max() < 256 else 256 * _HALF)
  return bright if bright.any() else grey > 0


def png(truth: Bool[np.ndarray, "H W"]) -> bytes:
  """The mask as a black and white PNG, for `read`."""
  content = io.BytesIO()
  Image.fromarray(np.where(truth, np.uint8(255), np.uint8(0))).save(
    content, "PNG"
  )
  return content.getvalue()


def size(file: str | os.PathLike) -> tuple[int, int]:
  """Height and width of a decoded image, from the header of its file.

  Raises:
    OSError: it cannot be opened.
  """
  with images.opened(file) as f:
    width, height = f.size
    try:
      turned = f.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # a broken block: `images.decode` ignores it, too
      turned = False
    return (width, height) if turned else (height, width)


def resized(
  truth: Bool[np.ndarray, "H W"], size: int
) -> Bool[np.ndarray, "size size"]:
  """Squashes a mask to a square, as its image is; takes nearest pixels."""
  picture = Image.fromarray(truth)
  return np.asarray(picture.resize((size, size), Image.Resampling.NEAREST))


def require(root: str, pairs: Sequence[tuple[str, str]]) -> None:
  """Requires a readable mask of the same size for each defective image.

  Args:
    root: the folder the names are relative to.
    pairs: (image, mask), as paths relative to `root`.

  Raises:
    UserError: a mask is missing, broken or of another size.
  """
  missing = [p for p in pairs if not os.path.exists(os.path.join(root, p[1]))]
  if missing:
    image, mask = missing[0]
    raise UserError(
      f"the defective image {image} in {root} has no mask: expected {mask}"
      f"{_more(missing)}. Add it, or remove the image"
    )
  broken = image_check.unreadable(root, [mask for _, mask in pairs])
  if broken:
    mask, why = next(iter(broken.items()))
    raise UserError(
      f"the mask {mask} in {root} is broken: {why}{_more(broken)}. Write it"
      " again, or remove it and its image"
    )
  with futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
    found = list(pool.map(lambda p: _sizes(root, *p), pairs))
  unequal = [(p, s) for p, s in zip(pairs, found, strict=True) if s[0] != s[1]]
  if unequal:
    (image, mask), ((height, width), (mask_height, mask_width)) = unequal[0]
    raise UserError(
      f"the mask {mask} in {root} has {mask_width}x{mask_height} pixels and its"
      f" image {image} {width}x{height}{_more(unequal)}: they must be equal"
    )


def _grey(image: Image.Image) -> np.ndarray:
  if image.has_transparency_data:
    image = image.convert("RGBA")
    black = Image.new("RGBA", image.size, "black")
    image = Image.alpha_composite(black, image)
  # Modes of one channel are not converted: "L" would clip 16 bits.
  whole = image.mode in ("1", "L", "I") or image.mode.startswith("I;16")
  return np.asarray(image if whole else image.convert("L")).astype(np.int64)


def _sizes(root: str, image: str, mask: str) -> tuple[tuple, tuple]:
  return size(os.path.join(root, image)), size(os.path.join(root, mask))


def _more(found: Sequence | dict) -> str:
  return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
