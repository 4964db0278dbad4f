"""Few-shot training: makes 22 copies of each of a few normal images.

The copies are rotated, moved, mirrored, grey or turned, as in INP-Former's
few-shot setting (2503.02424) and in RegAD.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools

from jaxtyping import Bool, UInt8
import numpy as np
from PIL import Image

from protojax.datasets.collection import Collection, Entry

_ANGLES = tuple(
  sign * step * 11.25 for step in (1, 2, 3, 4) for sign in (1, -1)
)
# In halves of a side, as in a sampling grid from -1 to 1.
_SHIFTS = tuple(
  (size * down, size * right)
  for size in (0.1, 0.2)
  for down in (1, -1)
  for right in (1, -1)
)


def rotated(
  image: UInt8[np.ndarray, "H W 3"], degrees: float
) -> UInt8[np.ndarray, "H W 3"]:
  """The image rotated about its centre, to the left; borders are reflected."""
  height, width, _ = image.shape
  # Wide enough to fill the corners at any angle.
  border = int(np.ceil(np.hypot(height, width) / 2)) - min(height, width) // 2
  wide = Image.fromarray(_reflected(image, border, border))
  wide = wide.rotate(degrees, Image.Resampling.BILINEAR)
  box = (border, border, border + width, border + height)
  return np.asarray(wide.crop(box))


def moved(
  image: UInt8[np.ndarray, "H W 3"], down: float, right: float
) -> UInt8[np.ndarray, "H W 3"]:
  """The image moved by shares of its sides; borders are reflected."""
  height, width, _ = image.shape
  dy, dx = round(down * height), round(right * width)
  wide = _reflected(image, abs(dy), abs(dx))
  y, x = abs(dy) - dy, abs(dx) - dx
  return wide[y : y + height, x : x + width].copy()


def grey(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
  """The luma of the image in all three channels."""
  return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


def mirrored(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
  """The image with left and right exchanged."""
  return np.ascontiguousarray(image[:, ::-1])


def turned(
  image: UInt8[np.ndarray, "H W 3"], quarters: int
) -> UInt8[np.ndarray, "h w 3"]:
  """The image turned by right angles, counter-clockwise."""
  return np.ascontiguousarray(np.rot90(image, quarters))


# Name of a copy -> the function that makes it; the first is the image itself.
COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "original": lambda image: image,
  **{
    f"rotated{angle:+g}": functools.partial(rotated, degrees=angle)
    for angle in _ANGLES
  },
  **{
    f"moved{down:+g}{right:+g}": functools.partial(
      moved, down=down / 2, right=right / 2
    )
    for down, right in _SHIFTS
  },
  "mirrored": mirrored,
  "grey": grey,
  **{
    f"turned{90 * quarters}": functools.partial(turned, quarters=quarters)
    for quarters in (1, 2, 3)
  },
}
_NAMES = tuple(COPIES)


@dataclasses.dataclass(frozen=True, eq=False)
class Copies:
  """A collection of 22 copies of each of some normal images.

  Attributes:
    collection: holds the images.
    rows: the images to copy; row 22 r + c here is copy c of image `rows[r]`.
  """

  collection: Collection
  rows: tuple[int, ...]

  @property
  def title(self) -> str:
    """Title of the collection."""
    return self.collection.title

  @functools.cached_property
  def entries(self) -> tuple[Entry, ...]:
    """One entry a copy; its name is that of the image and of the copy."""
    originals = (self.collection.entries[row] for row in self.rows)
    return tuple(
      dataclasses.replace(entry, name=f"{entry.name}#{copy}")
      for entry in originals
      for copy in _NAMES
    )

  @property
  def has_truth(self) -> bool:
    """True if the collection knows its defective pixels."""
    return self.collection.has_truth

  def broken(self, rows: Sequence[int]) -> dict[int, str]:
    """Empty: the images were read before."""
    del rows
    return {}

  def require_truth(self, rows: Sequence[int]) -> None:
    """Nothing to check: normal images have no masks."""

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of a copy."""
    original, copy = divmod(row, len(_NAMES))
    image = self.collection.image(self.rows[original])
    return COPIES[_NAMES[copy]](image)

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """An empty mask: no pixel is defective."""
    return np.zeros(self.image(row).shape[:2], bool)


def _reflected(image: np.ndarray, dy: int, dx: int) -> np.ndarray:
  # The border itself is not repeated, as in OpenCV's BORDER_REFLECT_101.
  return np.pad(image, ((dy, dy), (dx, dx), (0, 0)), mode="reflect")
