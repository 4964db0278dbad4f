"""Mode "reference": modifies images at their own size, before the resize.

The paper's code modifies the files of a data set, and the network reads these
files. Here the device modifies images of any size with few compiled programs:
each image is padded to the next of a few shapes and comes with its true height
and width. Pillow makes the JPEG and the resize on the host.
"""

from collections.abc import Iterable, Iterator
from concurrent import futures
import functools
import os
from typing import Any

import jax
from jax import Array
from jaxtyping import Int, UInt8
import numpy as np

from protojax.data import images as images_lib
from protojax.data.resizing import SQUASH, Resizing
from protojax.modify import modification
from protojax.modify.modification import Modification
from protojax.modify.presets import Preset
from protojax.types import ArrayLike, Batch, UserError

_THREADS = 4  # each holds one image and its copies at full size
_MOST_PIXELS = 2**24  # of `color.contrast`


def attach(
  batches: Iterable[Batch],
  source: Any,
  preset: Preset,
  image_size: int,
  resizing: Resizing = SQUASH,
) -> Iterator[Batch]:
  """Adds "copies" to batches, for a preset of mode "reference".

  They are uint8 [b, n, H, W, 3], see `copies`; "image" becomes their row 0.
  With another mode the batches do not change.

  Args:
    batches: with the positions of their images in "index". Padding repeats an
      image, which is modified once.
    source: of the images, at their own size.
    preset: what is modified.
    image_size: side of the network's input in pixels.
    resizing: how images come to that size.

  Raises:
    UserError: an image has too many pixels.
  """
  if preset.mode != "reference":
    yield from batches
    return

  def one(index: int) -> UInt8[np.ndarray, "n H W 3"]:
    try:
      return copies(source[index]["image"], preset, image_size, resizing)
    except UserError as error:
      raise UserError(f"{source.name(index)}: {error}") from error

  with futures.ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
    for batch in batches:
      indices, places = np.unique(batch["index"], return_inverse=True)
      made = np.stack(list(pool.map(one, indices.tolist())))[places]
      yield {**batch, "image": made[:, 0], "copies": made}


def copies(
  image: UInt8[np.ndarray, "H W 3"],
  preset: Preset,
  image_size: int,
  resizing: Resizing = SQUASH,
) -> UInt8[np.ndarray, "n size size 3"]:
  """An image and its modified copies, resized for the network.

  Row 0 is the unchanged image; the other rows are those of
  `modification.stacked`, modified before the resize. With a codec, row 0 goes
  through JPEG first. The other rows are made from the result and go through
  JPEG once more: the files of the paper's code were saved as often.

  Raises:
    UserError: the image has too many pixels.
  """
  unchanged = _saved(image, preset.jpeg)
  made, _ = modification.stacked(preset.modifications)
  modified = _modified(unchanged, made)
  rows = [unchanged, *map(_saved, modified, (m.jpeg for m in made))]
  frame = resizing.frame(image.shape, image_size)
  return np.stack([frame.pixels(row) for row in rows])


def _modified(
  image: UInt8[np.ndarray, "H W 3"], modifications: tuple[Modification, ...]
) -> list[UInt8[np.ndarray, "H W 3"]]:
  height, width, _ = image.shape
  shape = _padded(height), _padded(width)
  if shape[0] * shape[1] >= _MOST_PIXELS:
    raise UserError(
      f"{height} x {width} pixels are too many to modify at this size; make"
      " the image smaller, or use mode fast"
    )
  padded = np.zeros((1, *shape, 3), np.uint8)
  padded[0, :height, :width] = image
  size = np.array([[height, width]], np.int32)
  changed = jax.device_get(_modify(padded, size, modifications))
  return [copy[0, :height, :width] for copy in changed]


@functools.partial(jax.jit, static_argnames="modifications")
def _modify(
  images: UInt8[ArrayLike, "b H W 3"],
  sizes: Int[ArrayLike, "b 2"],
  modifications: tuple[Modification, ...],
) -> list[UInt8[Array, "b H W 3"]]:
  return [modification.modify(images, m, sizes) for m in modifications]


def _padded(side: int) -> int:
  """The next of few lengths: multiples of 64, of 128 above 512, and so on."""
  step = max(64, 2 ** (side - 1).bit_length() // 8)
  return -(-side // step) * step


def _saved(
  image: UInt8[np.ndarray, "H W 3"], quality: int | None
) -> UInt8[np.ndarray, "H W 3"]:
  """The image, saved as JPEG and read again if there is a quality."""
  return image if quality is None else images_lib.through_jpeg(image, quality)
