"""Reads masks: which pixels of an image are defective.

A mask is an image file of any format, of the size of its image. Masks are
checked when the data are opened, so that no evaluation stops in the middle.
"""

from collections.abc import Sequence
from concurrent import futures
import functools
import io
import logging
import os

from jaxtyping import Bool
import numpy as np
from PIL import Image, ImageOps

from protojax.data import images
from protojax.data.resizing import Frame
from protojax.datasets import image_check
from protojax.types import Box, UserError

_ORIENTATION = 0x0112  # EXIF; from 5 on, height and width are exchanged
_BLACK, _HALF, _WHITE = np.uint8(0), 128, np.uint8(255)
_FEW = 16  # grey levels; more come of smoothing or compression
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "JPEG2000")
_NOISE = 16  # grey levels
_AREA = 4  # pixels, on average; noise is scattered
_EMPTY = "marks no pixel"
_LOG = logging.getLogger(__name__)


def read(file: str | os.PathLike | bytes) -> Bool[np.ndarray, "H W"]:
  """Reads a mask, from a path or from the bytes of a file.

  Pixels at least half as bright as white are defective, in the brightest of
  their colours. If there are none, each pixel holds the number of a kind of
  defect, as in VisA, and all but 0 are defective. Where a mask has at most 16
  grey levels, those that fill areas are kinds of defects, too, however dark; a
  level that only lines the edge of a brighter one comes of smoothing.
  Transparent pixels are not defective.

  Raises:
    ValueError: says what is wrong, without the name of the mask.
  """
  try:
    with images.opened(file) as f:
      lossy = f.format in _LOSSY
      f.load()
      grey = _grey(ImageOps.exif_transpose(f))
  except Image.UnidentifiedImageError as e:
    raise ValueError("not an image that Pillow can read") from e
  except Exception as e:
    raise ValueError(str(e) or type(e).__name__) from e
  top = int(grey.max())
  if lossy and top >= _NOISE:
    return grey > top // 2  # what is darker may be noise of the compression
  bright = grey >= (_HALF if top < 256 else 256 * _HALF)
  if not bright.any():
    return grey > 0
  levels = np.unique(grey)
  if len(levels) > _FEW:
    return bright
  dark = [
    int(level) for level in levels[levels > 0] if level < grey[bright].min()
  ]
  if np.any((levels < top) & (levels > top - _NOISE)):  # noise below white
    dark = [level for level in dark if level >= _NOISE]
  kinds = [level for level in dark if _fills_areas(grey, level)]
  return bright | np.isin(grey, kinds)


def png(truth: Bool[np.ndarray, "H W"]) -> bytes:
  """The mask as a black and white PNG, for `read`."""
  content = io.BytesIO()
  Image.fromarray(np.where(truth, _WHITE, _BLACK)).save(content, "PNG")
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


def seen(
  truth: Bool[np.ndarray, "H W"], frame: Frame
) -> Bool[np.ndarray, "S S"]:
  """The mask of what a network sees of an image.

  Where the image is squashed as a whole, the nearest pixels of the mask. Where
  a square is cut out, the mask is resized and cut as its image is, and pixels
  that are at least half defective stay (INP-Former's code, `dataset.py`).
  """
  if frame.whole:
    return _nearest(truth, frame.size)
  return frame.pixels(np.where(truth, _WHITE, _BLACK)[..., None])[..., 0] > 127


def on_map(
  truth: Bool[np.ndarray, "H W"], frame: Frame, size: int
) -> Bool[np.ndarray, "size size"]:
  """The mask at the size of an anomaly map of what a network sees.

  Of a square that is cut out, the nearest pixels by their upper left corners,
  as PyTorch's `interpolate` takes them (its `utils.py`).
  """
  if frame.whole:
    return _nearest(truth, size)
  at = np.arange(size) * frame.size // size
  return seen(truth, frame)[at[:, None], at[None]]


def hidden(truth: Bool[np.ndarray, "H W"], frame: Frame) -> float | None:
  """Share of the marked pixels that the network does not see.

  None if none is marked.
  """
  if not truth.any():
    return None
  window = Box(0, 0, frame.size, frame.size)
  top, left, bottom, right = frame.original(window, truth.shape)
  return 1 - float(truth[top:bottom, left:right].sum() / truth.sum())


def _nearest(
  truth: Bool[np.ndarray, "H W"], size: int
) -> Bool[np.ndarray, "size size"]:
  picture = Image.fromarray(truth)
  return np.asarray(picture.resize((size, size), Image.Resampling.NEAREST))


def require(root: str, pairs: Sequence[tuple[str, str]]) -> None:
  """Requires a readable mask of the same size for each defective image.

  A mask that marks no pixel is said.

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
  masks = [mask for _, mask in pairs]
  found = image_check.unreadable(root, masks, _reason, "mask")
  broken = {mask: why for mask, why in found.items() if why != _EMPTY}
  if broken:
    mask, why = next(iter(broken.items()))
    raise UserError(
      f"the mask {mask} in {root} is broken: {why}{_more(broken)}. Write it"
      " again, or remove it and its image"
    )
  with futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
    sizes = list(pool.map(lambda p: _sizes(root, *p), pairs))
  unequal = [(p, s) for p, s in zip(pairs, sizes, strict=True) if s[0] != s[1]]
  if unequal:
    (image, mask), ((height, width), (mask_height, mask_width)) = unequal[0]
    raise UserError(
      f"the mask {mask} in {root} has {mask_width}x{mask_height} pixels and its"
      f" image {image} {width}x{height}{_more(unequal)}: they must be equal"
    )
  empty = [pair for pair in pairs if found.get(pair[1]) == _EMPTY]
  if empty:
    _say_empty(root, *empty[0], _more(empty))


def _grey(image: Image.Image) -> np.ndarray:
  """Pixels as integers; of colours, the brightest channel."""
  if image.mode == "F":
    raise ValueError("floating-point pixels; save it with 8 or 16 bits")
  if image.has_transparency_data:
    image = image.convert("RGBA")
    black = Image.new("RGBA", image.size, "black")
    image = Image.alpha_composite(black, image)
  # Modes of one channel are not converted: "L" would clip 16 bits.
  if image.mode in ("1", "L", "I") or image.mode.startswith("I;16"):
    return np.asarray(image).astype(np.int64)
  return np.asarray(image.convert("RGB")).max(axis=-1).astype(np.int64)


def _fills_areas(grey: np.ndarray, level: int) -> bool:
  """True if a level is neither noise nor the edge of something brighter."""
  from scipy import ndimage  # Here: it takes a third of a second.

  here = grey == level
  _, areas = ndimage.label(here, np.ones((3, 3), bool))
  brighter = ndimage.maximum_filter(grey, 3) > level
  darker = ndimage.minimum_filter(grey, 3) < level
  is_edge = (brighter & darker)[here].mean() >= 0.5
  return bool(not is_edge and here.sum() >= _AREA * areas)


def _reason(path: str) -> str:
  try:
    return "" if read(path).any() else _EMPTY
  except ValueError as e:
    return str(e)


@functools.cache
def _say_empty(root: str, image: str, mask: str, more: str) -> None:
  _LOG.warning(
    "the mask %s in %s marks no pixel of the defective image %s%s",
    mask,
    root,
    image,
    more,
  )


def _sizes(root: str, image: str, mask: str) -> tuple[tuple, tuple]:
  return size(os.path.join(root, image)), size(os.path.join(root, mask))


def _more(found: Sequence | dict) -> str:
  return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
