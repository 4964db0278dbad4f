"""Masks of predictions: an index PNG with a palette, and a colour overlay.

Of a model that tells objects apart, `segment_files` writes the segments, too.
Slices of volumes become volumes.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import functools
from pathlib import Path, PurePath
import re

import numpy as np
from PIL import Image

from protojax.data import palette
from protojax.data.stream import Stream
from protojax.datasets.slices import Slices
from protojax.operations import segment_files, volume_masks
from protojax.operations.segment_files import save
from protojax.types import UserError

# Of pixels that the network does not see.
_UNSEEN = 255
_COLOURS = 255

# (stream, index of the image, row of the method's `predict`) -> nothing.
Write = Callable[[Stream, int, Mapping[str, np.ndarray]], None]


@contextlib.contextmanager
def writer(
  folder: str, names: Callable[[], tuple[str, ...]] = tuple
) -> Iterator[Write | None]:
  """Function that writes the masks of an image to a folder; None for ''.

  Args:
    folder: that they are written to.
    names: gives those of the classes, when all is written.

  Raises:
    UserError: the folder is a file, or cannot be made; from the function, two
      images would have one name, or there is no room.
  """
  if not folder:
    yield None
    return
  path = Path(folder)
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"--masks={folder}: {error.strerror}") from error
  segments = segment_files.Segments(path / "panoptic")
  volumes = volume_masks.Volumes(path)
  write = functools.partial(_write, path, set(), segments)

  def each(stream: Stream, index: int, row: Mapping[str, np.ndarray]) -> None:
    if isinstance(stream.source, Slices):
      volumes.add(stream, stream.source, index, row)
    else:
      write(stream, index, row)

  yield each
  segments.finish(names())


def _write(
  folder: Path,
  taken: set[str],
  segments: segment_files.Segments,
  stream: Stream,
  index: int,
  row: Mapping[str, np.ndarray],
) -> None:
  name = PurePath(stream.source.name(index))
  parts = name.relative_to(name.anchor).with_suffix("").parts
  stem = re.sub(r"[^\w.-]+", "_", "_".join(parts))
  if stem in taken:
    raise UserError(f"two images would be written to {folder / stem}.png")
  taken.add(stem)
  image = stream.source[index]["image"]
  classes = row["classes"]
  frame = stream.resizing.frame(image.shape, stream.image_size)
  if "segments" in row:
    plane = frame.at_own_size(row["segments"], image.shape, 0)
    segments.add(stem, PurePath(name).name, plane, row)
  mask = frame.at_own_size(classes, image.shape, _UNSEEN)
  count = int(classes.max()) + 1
  picture = Image.fromarray(mask.astype(np.uint8))
  picture.putpalette([*palette.colours(_COLOURS).ravel().tolist(), 0, 0, 0])
  save(folder / f"{stem}.png", picture)
  over = palette.painted(image, mask, count)
  save(folder / f"{stem}-overlay.png", Image.fromarray(over))
