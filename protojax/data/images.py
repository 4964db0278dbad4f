"""Image files -> pixels, RGB uint8; every image is decoded here."""

import hashlib
import io
import os

from jaxtyping import UInt8
import numpy as np
from PIL import Image, ImageOps

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def decode(file: str | os.PathLike | bytes) -> UInt8[np.ndarray, "H W 3"]:
  """Reads one image, from a path or from the bytes of a file.

  Grey, palette and CMYK become RGB, 16 bits are scaled to 8, transparency
  becomes white, and the EXIF orientation is applied. An animation gives its
  first frame.

  Raises:
    ValueError: says what is wrong, without the name of the image.
  """
  # Decoders raise many errors on a broken file (OSError, SyntaxError,
  # struct.error, DecompressionBombError...): here they all mean the same.
  try:
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as f:
      f.load()
      return to_rgb(_upright(f))
  except Image.UnidentifiedImageError as e:
    raise ValueError("not an image that Pillow can read") from e
  except Exception as e:
    raise ValueError(str(e) or type(e).__name__) from e


def to_rgb(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
  """Pixels of a Pillow image of any mode as RGB; transparency becomes white.

  Raises:
    ValueError: the pixels are floats or 32-bit integers: nobody knows which
      value is white.
  """
  if image.mode in _SIXTEEN_BIT or image.mode == "I":
    return _from_sixteen_bits(np.asarray(image))
  if image.mode == "F":
    raise ValueError("floating-point pixels; save it with 8 or 16 bits")
  if image.has_transparency_data:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image)
  return np.array(image.convert("RGB"))


def through_jpeg(
  image: UInt8[np.ndarray, "H W 3"], quality: int
) -> UInt8[np.ndarray, "H W 3"]:
  """The image, saved as JPEG and read again."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, "JPEG", quality=quality)
  return decode(file.getvalue())


def digest(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "16"]:
  """BLAKE2b hash of pixels and shape; one image in two files has one hash."""
  state = hashlib.blake2b(digest_size=16)
  state.update(np.asarray(image.shape, "<i8").tobytes())
  state.update(np.ascontiguousarray(image).tobytes())
  return np.frombuffer(state.digest(), np.uint8)


def _upright(image: Image.Image) -> Image.Image:
  # Cameras and editors sometimes write broken EXIF blocks. The pixels are
  # sound, so the image is kept, and is not turned.
  try:
    return ImageOps.exif_transpose(image)
  except Exception:
    return image


def _from_sixteen_bits(grey: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
  # Pillow reads 16-bit files of some formats in mode "I", which has 32 bits.
  wide = grey.astype(np.int64)
  if wide.min() < 0 or wide.max() > 65535:
    raise ValueError("32-bit integer pixels; save it with 8 or 16 bits")
  grey = ((wide + 128) // 257).astype(np.uint8)
  return np.repeat(grey[..., None], 3, axis=-1)
