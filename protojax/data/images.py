"""Image files -> pixels, RGB uint8; every image is decoded here."""

from collections.abc import Iterator
import contextlib
import functools
import hashlib
import io
import os
import warnings

from jaxtyping import UInt8
import numpy as np
from PIL import Image, ImageOps

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_NEARLY_BLACK = (
  4096  # of 65535: where all 16-bit pixels are below, 12 are meant
)
_COLOURS = ("RGB", "RGBA", "LA")
# Files that hold pixels. For others, such as EPS, Pillow starts a program that
# runs what is in the file, whatever the suffix.
_RASTER = (
  *("AVIF", "BMP", "DCX", "DDS", "DIB", "FITS", "GIF", "ICNS", "ICO", "JPEG"),
  *("JPEG2000", "MPO", "MSP", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN"),
  *("TGA", "TIFF", "WEBP", "XBM", "XPM"),
)


# Pixels of the largest image that is decoded: 64 million are 8,000 x 8,000. In
# each of 16 threads, an image takes up to 9 bytes a pixel.
_MOST_PIXELS = 64_000_000
_KEY = "PROTOJAX_MOST_PIXELS"  # environment variable with another number
# Pillow's warning begins where these images are refused anyway, or wanted.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Of EXIF blocks and tags that are broken: the pixels are sound, and the warning
# does not say of which image. What cannot be decoded is an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def decode(file: str | os.PathLike | bytes) -> UInt8[np.ndarray, "H W 3"]:
  """Reads one image, from a path or from the bytes of a file.

  Grey, palette and CMYK become RGB, 16 bits are scaled to 8, transparency
  becomes white, and the EXIF orientation is applied. Whole numbers up to 255
  are taken as they are, also if 16 or 32 bits store them. An animation gives
  its first frame.

  Raises:
    ValueError: says what is wrong, without the name of the image.
  """
  # Decoders raise many errors on a broken file (OSError, SyntaxError,
  # struct.error, DecompressionBombError...): here they all mean the same.
  try:
    with opened(file) as f:
      wide = any(";16" in str(tile[3]) for tile in getattr(f, "tile", ()))
      f.load()
      pixels = to_rgb(_upright(f))
  except Image.UnidentifiedImageError as e:
    raise ValueError("not an image that Pillow can read") from e
  except Exception as e:
    raise ValueError(str(e) or type(e).__name__) from e
  # Of colours with 16 bits, Pillow keeps the upper 8.
  if wide and f.mode in _COLOURS and not pixels.any():
    raise ValueError("16-bit colours of less than 256; save it with 8 bits")
  return pixels


def of_picture(picture: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
  """The pixels of an image that Pillow has opened or made; see `decode`."""
  return to_rgb(_upright(picture))


@contextlib.contextmanager
def opened(file: str | os.PathLike | bytes) -> Iterator[Image.Image]:
  """Opens a file of pixels, of which nothing but the header is read at first.

  Raises:
    OSError: it is not there, no regular file or no raster image.
    ValueError: its header says that it has too many pixels.
  """
  if isinstance(file, bytes):
    source = io.BytesIO(file)
  elif os.path.isfile(file):
    source = file
  else:
    os.stat(file)  # raises if it is not there
    raise OSError("not a regular file")  # to open a pipe would wait for ever
  most = _most_pixels()
  # Pillow refuses twice as many as a number of its own.
  Image.MAX_IMAGE_PIXELS = max(most, Image.MAX_IMAGE_PIXELS or 0)
  try:
    opening = Image.open(source, formats=formats())
  except Image.DecompressionBombError as e:
    raise ValueError(_too_many("its", most)) from e
  with opening as image:
    width, height = image.size
    if width * height > most:
      raise ValueError(_too_many(f"{width} x {height}", most))
    yield image


def _too_many(size: str, most: int) -> str:
  return (
    f"{size} pixels are more than {most:,}; make it smaller, or set a higher"
    f" number as the environment variable {_KEY}"
  )


def _most_pixels() -> int:
  given = os.environ.get(_KEY, str(_MOST_PIXELS))
  if not given.isdecimal() or len(given) > 12:
    raise ValueError(f"{_KEY}={given:.40} is not a number of pixels")
  return int(given)


@functools.cache
def formats() -> tuple[str, ...]:
  """Formats of files that are decoded, by Pillow's names."""
  Image.init()
  return tuple(name for name in _RASTER if name in Image.OPEN)


@functools.cache
def suffixes() -> frozenset[str]:
  """Suffixes of the files that are decoded, in small letters."""
  # What opens JPEG opens MPO, for which Pillow registers the suffix alone.
  kinds = {*formats(), "MPO"}
  found = Image.registered_extensions().items()
  return frozenset(suffix for suffix, kind in found if kind in kinds)


def to_rgb(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
  """Pixels of a Pillow image of any mode as RGB; transparency becomes white.

  Raises:
    ValueError: the pixels are floats or 32-bit integers: nobody knows which
      value is white.
  """
  if image.mode in _SIXTEEN_BIT or image.mode == "I":
    return _from_integers(np.asarray(image))
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


def _from_integers(grey: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
  """Values of 8 or 16 bits, stored with 16 or 32, with 8 bits."""
  wide = grey.astype(np.int64)
  if wide.min() < 0 or wide.max() > 65535:
    raise ValueError("32-bit integer pixels; save it with 8 or 16 bits")
  # Divided by 257, values of 8 bits would all be black.
  if 256 <= wide.max() < _NEARLY_BLACK:
    raise ValueError(
      f"16-bit pixels of at most {wide.max()}, which 8 bits make black; save it"
      " with 8 bits, or with values up to 65535"
    )
  grey = wide if wide.max() < 256 else (wide + 128) // 257
  return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
