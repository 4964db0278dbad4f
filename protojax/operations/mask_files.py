"""Masks of predictions: an index PNG with a palette, and a colour overlay."""

from collections.abc import Callable, Iterator
import contextlib
import functools
from pathlib import Path, PurePath
import re
from typing import Any

from jaxtyping import Int
import numpy as np
from PIL import Image

from protojax.data import palette
from protojax.data.stream import Stream
from protojax.types import UserError
from protojax.writing import replacing

# Of pixels that the network does not see.
_UNSEEN = 255
_COLOURS = 255

Write = Callable[[Stream, int, Int[np.ndarray, "S S"]], None]


@contextlib.contextmanager
def writer(folder: str) -> Iterator[Write | None]:
  """Function that writes the masks of an image to a folder; None for ''.

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
  yield functools.partial(_write, path, set())


def _write(
  folder: Path,
  taken: set[str],
  stream: Stream,
  index: int,
  classes: Int[np.ndarray, "S S"],
) -> None:
  name = PurePath(stream.source.name(index))
  parts = name.relative_to(name.anchor).with_suffix("").parts
  stem = re.sub(r"[^\w.-]+", "_", "_".join(parts))
  if stem in taken:
    raise UserError(f"two images would be written to {folder / stem}.png")
  taken.add(stem)
  image = stream.source[index]["image"]
  frame = stream.resizing.frame(image.shape, stream.image_size)
  mask = frame.at_own_size(classes, image.shape, _UNSEEN)
  count = int(classes.max()) + 1
  picture = Image.fromarray(mask.astype(np.uint8))
  picture.putpalette([*palette.colours(_COLOURS).ravel().tolist(), 0, 0, 0])
  _save(folder / f"{stem}.png", picture)
  over = palette.painted(image, mask, count)
  _save(folder / f"{stem}-overlay.png", Image.fromarray(over))


def _save(path: Path, picture: Any) -> None:
  with replacing(path, "wb") as file:
    picture.save(file, "PNG")
