"""How an image of any shape becomes the square that a network takes.

A `Resizing` is the rule for all images; the `Frame` that it makes for a shape
is what the network sees of an image: a square of the resized image. Pixels,
classes, boxes and points go through the frame together. All of it is on the
host.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Shaped
import numpy as np
from PIL import Image

from protojax.types import Box, UserError

_FILTERS = {
  "bilinear": Image.Resampling.BILINEAR,
  "bicubic": Image.Resampling.BICUBIC,
  "lanczos": Image.Resampling.LANCZOS,
}
_KINDS = ("squash", "aspect", "adm")


@dataclasses.dataclass(frozen=True)
class Frame:
  """What a network sees of images of one shape.

  Attributes:
    height: of the resized image, in pixels.
    width: of the same.
    top: of the square in the resized image.
    left: of the same.
    size: side of the square.
    interpolation: of pixels; a filter of Pillow, which reads more pixels where
      it makes an image smaller.
    halvings: how often both sides are halved before, by means of four pixels.
  """

  height: int
  width: int
  top: int
  left: int
  size: int
  interpolation: str = "bilinear"
  halvings: int = 0

  @property
  def whole(self) -> bool:
    """Whether nothing of the image is cut off."""
    return (self.height, self.width) == (self.size, self.size)

  def pixels(
    self, image: Shaped[np.ndarray, "H W c"]
  ) -> Shaped[np.ndarray, "size size c"]:
    """Bytes or floats in the square, to the last grey level as Pillow."""
    if image.shape[:2] != (self.height, self.width):
      if image.shape[2] == 3 and image.dtype == np.uint8:
        image = self._resized(image)
      else:
        # Pillow takes other channels for transparency or ink.
        planes = np.moveaxis(image, -1, 0)
        image = np.stack([self._resized(plane) for plane in planes], axis=-1)
    return self._square(image)

  def nearest(
    self, planes: Shaped[np.ndarray, "*t H W"]
  ) -> Shaped[np.ndarray, "*t size size"]:
    """The nearest pixel of each plane for each pixel of the square."""
    rows, columns = (
      ((start + np.arange(self.size) + 0.5) * side / resized).astype(int)
      for start, resized, side in zip(
        (self.top, self.left),
        (self.height, self.width),
        planes.shape[-2:],
        strict=True,
      )
    )
    return planes[..., rows[:, None], columns]

  def at_own_size(
    self,
    plane: Shaped[np.ndarray, "size size"],
    shape: Sequence[int],
    unseen: int,
  ) -> Shaped[np.ndarray, "H W"]:
    """The nearest pixel of a plane of the square for each of the image.

    Args:
      plane: of the square.
      shape: height and width of the image, and whatever follows them.
      unseen: value of pixels that the square does not show.
    """
    seen = self.original(Box(0, 0, self.size, self.size), shape)
    rows = np.clip(np.arange(seen.top, seen.bottom), 0, shape[0] - 1)
    columns = np.clip(np.arange(seen.left, seen.right), 0, shape[1] - 1)
    y = (rows + 0.5) * self.height / shape[0] - self.top
    x = (columns + 0.5) * self.width / shape[1] - self.left
    y, x = (np.clip(z.astype(int), 0, self.size - 1) for z in (y, x))
    found = np.full(shape[:2], unseen, np.int32)
    found[rows[:, None], columns] = plane[y[:, None], x]
    return found

  def boxes(
    self, boxes: Float[np.ndarray, "t 4"]
  ) -> tuple[Float[np.ndarray, "t 4"], Bool[np.ndarray, " t"]]:
    """Boxes around what the square shows of each box; False: nothing.

    Args:
      boxes: (top, left, bottom, right) in shares of the image.

    Returns:
      The same in shares of the square; a box out of sight is 0.
    """
    if self.whole:
      return boxes, np.ones(len(boxes), bool)
    moved = np.clip(self._shares(boxes.reshape(-1, 2, 2)), 0, 1)
    seen = np.all(moved[:, 0] < moved[:, 1], axis=-1)
    return np.where(seen[:, None], moved.reshape(-1, 4), 0), seen

  def points(
    self, points: Float[np.ndarray, "r 3"]
  ) -> Float[np.ndarray, "r 3"]:
    """Points in shares of the square.

    Args:
      points: (row, column, 1 if seen else 0) in shares of the image. A point
        outside of the square is not seen.
    """
    if self.whole:
      return points
    places = self._shares(points[:, :2])
    inside = np.all((places >= 0) & (places < 1), axis=-1)
    seen = np.where(inside, points[:, 2], 0)
    return np.concatenate([places, seen[:, None]], axis=1).astype(points.dtype)

  def original(self, box: Box, whole: Sequence[int]) -> Box:
    """The smallest box of whole pixels that shows the same of the image.

    Args:
      box: in pixels of the square.
      whole: height and width of the image, and whatever follows them.
    """
    rows, columns = whole[:2]
    return Box(
      top=(self.top + box.top) * rows // self.height,
      left=(self.left + box.left) * columns // self.width,
      bottom=-(-(self.top + box.bottom) * rows // self.height),
      right=-(-(self.left + box.right) * columns // self.width),
    )

  def in_image(
    self, places: Float[np.ndarray, "*n 2"]
  ) -> Float[np.ndarray, "*n 2"]:
    """(row, column) in shares of the square -> in shares of the image."""
    resized = places * self.size + np.array([self.top, self.left])
    return resized / np.array([self.height, self.width])

  def _shares(
    self, places: Float[np.ndarray, "*n 2"]
  ) -> Float[np.ndarray, "*n 2"]:
    """(row, column) in shares of the image -> in shares of the square."""
    resized = places * np.array([self.height, self.width])
    return (resized - np.array([self.top, self.left])) / self.size

  def _resized(self, plane: np.ndarray) -> np.ndarray:
    size, resample = (self.width, self.height), _FILTERS[self.interpolation]
    image = Image.fromarray(plane)
    for _ in range(self.halvings):
      half = (image.width // 2, image.height // 2)
      image = image.resize(half, Image.Resampling.BOX)
    return np.array(image.resize(size, resample))

  def _square(self, image: np.ndarray) -> np.ndarray:
    rows = slice(self.top, self.top + self.size)
    return image[rows, self.left : self.left + self.size]


@dataclasses.dataclass(frozen=True)
class Resizing:
  """The rule by which images are resized; then the middle square is cut out.

  Attributes:
    kind: "squash" brings both sides to `to`; "aspect" brings the shorter side
      to `to` and keeps the aspect; "adm" does so, too, after it has halved both
      sides for as long as the shorter one has twice as many pixels (Dhariwal &
      Nichol, 2021, and those who compare generated images with theirs).
    to: pixels; 0: the side of the square.
    interpolation: see `Frame`.
  """

  kind: str = "squash"
  to: int = 0
  interpolation: str = "bilinear"

  def frame(self, shape: Sequence[int], size: int) -> Frame:
    """What becomes of an image.

    Args:
      shape: height and width of the image, and whatever follows them.
      size: side of the square.
    """
    height, width = shape[:2]
    rows = columns = self.to or size
    if self.kind == "adm":
      return self._halved_first(height, width, size)
    if self.kind == "aspect":
      # Rounded as torchvision's Resize rounds the longer side.
      longer = int(rows * max(height, width) / min(height, width))
      rows, columns = (rows, longer) if height <= width else (longer, rows)
    # Rounded as its CenterCrop: halves to the even number.
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    return Frame(rows, columns, top, left, size, self.interpolation)

  def _halved_first(self, height: int, width: int, size: int) -> Frame:
    to, halvings = self.to or size, 0
    while min(height, width) >= 2 * to:
      height, width, halvings = height // 2, width // 2, halvings + 1
    scale = to / min(height, width)
    rows, columns = round(height * scale), round(width * scale)
    top, left = (rows - size) // 2, (columns - size) // 2
    return Frame(rows, columns, top, left, size, self.interpolation, halvings)


SQUASH = Resizing()
# What latent diffusion is trained on.
ADM = Resizing("adm", interpolation="bicubic")

# Keys of a config, and the values that do what runs without them did.
LATER = {
  "data.resize": "squash",
  "data.resize_size": 0,
  "data.interpolation": "",
}


class Preprocessing(NamedTuple):
  """How images were resized for published weights.

  Attributes:
    resize: pixels that the shorter side is brought to.
    crop: side of the middle square that is cut out.
    interpolation: see `Frame`.
  """

  resize: int
  crop: int
  interpolation: str = "bilinear"

  def at(self, size: int) -> Resizing:
    """The same share of an image, for a square of another side."""
    to = size * self.resize // self.crop
    return Resizing("aspect", to, self.interpolation)


def _unknown() -> Preprocessing:
  raise UserError(
    "--config.data.resize=weights: this method has no pretrained weights that"
    " say how; choose squash or aspect."
  )


def chosen(
  data: Any, of_weights: Callable[[], Preprocessing] = _unknown
) -> Resizing:
  """The rule that a config chooses.

  Args:
    data: `config.data`: `resize` ("squash", "aspect", "adm", or "weights" for
      that of the pretrained weights), `resize_size` (0: `image_size`, or that
      of the weights), `interpolation` ('': bilinear, for "adm" bicubic, or that
      of the weights). A config without these keys squashes.
    of_weights: gives what the backbone's weights were published with.

  Raises:
    UserError: a value is not known, or the square is larger than the image.
  """
  kind, to = data.get("resize", "squash"), data.get("resize_size", 0)
  interpolation = data.get("interpolation", "")
  if kind not in (*_KINDS, "weights"):
    raise UserError(
      f"--config.data.resize={kind!r}: choose from squash (both sides become"
      " resize_size), aspect (the shorter one does), adm (that, halved first,"
      " as generated images are compared) and weights (as the backbone's"
      " weights were trained)."
    )
  if interpolation not in ("", *_FILTERS):
    raise UserError(
      f"--config.data.interpolation={interpolation!r}: choose from"
      f" {', '.join(_FILTERS)}, or '' for the one of the weights."
    )
  size = data.get("image_size", 0)
  if to and to < size:
    raise UserError(
      f"--config.data.resize_size is {to}; the middle square of"
      f" --config.data.image_size={size} is cut from the resized image, so give"
      f" {size} or more, or 0."
    )
  base = {"squash": SQUASH, "adm": ADM}.get(kind, Resizing("aspect"))
  if kind == "weights":
    base = of_weights().at(size)
  return Resizing(base.kind, to or base.to, interpolation or base.interpolation)
