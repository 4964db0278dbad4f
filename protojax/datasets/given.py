"""A source of images that a caller gives: files, or pictures in memory."""

from collections.abc import Iterable, Sequence
import dataclasses
import logging
import os
from typing import Any

from jaxtyping import Int32, UInt8
import numpy as np
from PIL import Image

from protojax.data import images as images_lib
from protojax.data import skipped
from protojax.data.source import Source
from protojax.datasets import files
from protojax.types import UserError

_LOG = logging.getLogger(__name__)
_KINDS = (
  "a path of a file, a folder or a pattern; a PIL image; uint8 pixels [H, W, 3]"
  " or [H, W], or a batch [b, H, W, 3]; or a list of these"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
  """A source of pictures in memory; see `source.Source`.

  Attributes:
    pixels: RGB of each.
    names: of each, for reports.
  """

  pixels: tuple[UInt8[np.ndarray, "H W 3"], ...]
  names: tuple[str, ...]
  class_names: tuple[str, ...] = ()
  skipped: tuple[tuple[str, str], ...] = ()

  @property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """Unknown, of each."""
    return np.full(len(self.pixels), -1, np.int32)

  def __len__(self) -> int:
    return len(self.pixels)

  def __getitem__(self, i: int) -> dict:
    return {"image": self.pixels[i], "label": -1, "name": self.names[i]}

  def name(self, i: int) -> str:
    """Its name."""
    return self.names[i]


def source(images: Any) -> tuple[Source, bool]:
  """The images that a caller gives, and whether it is a single one.

  What cannot be read in a folder, or of a pattern, is left out and said.

  Args:
    images: a path of a file, a folder or a pattern; a PIL image; uint8 pixels
      [H, W, 3] or [H, W], or a batch [b, H, W, 3]; a list of these; or
      `Pictures`, which have names.

  Raises:
    UserError: it is something else, such as pixels between 0 and 1, or no image
      can be read.
  """
  if isinstance(images, Pictures):
    return images, False
  if isinstance(images, str | os.PathLike):
    path = os.fspath(images)
    found = files.images(path)
    return _said(found), os.path.isfile(os.path.expanduser(path))
  if isinstance(images, Sequence | Iterable) and not _is_pixels(images):
    return _listed(list(images)), False
  found = _pictures(images)
  return _named(found), len(found) == 1 and np.ndim(images) != 4


def pixels(image: Any) -> UInt8[np.ndarray, "H W 3"]:
  """RGB of a single image: a path of a file, a PIL image or uint8 pixels.

  Raises:
    UserError: it is something else.
  """
  if isinstance(image, str | os.PathLike):
    try:
      return images_lib.decode(image)
    except ValueError as error:
      raise UserError(f"{os.fspath(image)} cannot be read: {error}") from error
  found = _pictures(image)
  if len(found) != 1:
    raise UserError(f"found {len(found)} images; expected one")
  return found[0]


def _listed(images: list) -> Source:
  if not images:
    raise UserError("an empty list: expected images")
  paths = [isinstance(image, str | os.PathLike) for image in images]
  if all(paths):
    named = list(map(os.fspath, images))
    # Of files, who asks expects an answer for each.
    if all(os.path.isfile(os.path.expanduser(path)) for path in named):
      return files.each(named)
    return _said(files.images(*named))
  if any(paths):
    raise UserError(
      "a list of paths and pictures: give the paths and the pictures apart"
    )
  return _named([pixels for image in images for pixels in _pictures(image)])


def _said(found: Source) -> Source:
  """The same, once it was told which files are left out."""
  for line in skipped.report({"images": found}):
    _LOG.warning("%s", line)
  return found


def _named(pixels: list[np.ndarray]) -> Pictures:
  names = tuple(f"image {i}" for i in range(len(pixels)))
  return Pictures(tuple(pixels), names)


def _is_pixels(images: Any) -> bool:
  """Whether it is a picture or an array, and no list of some."""
  return isinstance(images, Image.Image) or hasattr(images, "dtype")


def _pictures(image: Any) -> list[np.ndarray]:
  """RGB of a picture, or of each picture of a batch.

  Raises:
    UserError: it is no picture.
  """
  if isinstance(image, Image.Image):
    try:
      return [images_lib.of_picture(image)]
    except ValueError as error:
      raise UserError(f"a picture of mode {image.mode}: {error}") from error
  if not hasattr(image, "dtype"):
    raise UserError(f"found {type(image).__name__}; expected {_KINDS}")
  found = image.detach().cpu() if hasattr(image, "detach") else image
  pixels = np.asarray(found)
  shape = "x".join(map(str, pixels.shape))
  if pixels.dtype != np.uint8:
    raise UserError(
      f"found pixels of type {pixels.dtype}; expected uint8, 0 to 255. Pixels"
      " between 0 and 1 become those by (255 * x).round().astype('uint8')"
    )
  if pixels.ndim == 2:
    pixels = np.repeat(pixels[..., None], 3, axis=-1)
  if pixels.ndim not in (3, 4) or pixels.shape[-1] != 3 or not pixels.size:
    first = pixels.ndim in (3, 4) and pixels.shape[-3] == 3
    way_out = "; np.moveaxis(x, -3, -1) brings channels to the end" * first
    raise UserError(
      f"found uint8 pixels of shape {shape}; expected {_KINDS}{way_out}"
    )
  return list(pixels) if pixels.ndim == 4 else [pixels]
