"""The images of the atlas: the provenance of a run's prototypes.

They are images of the training split, which may have been removed or changed
since. Then they are not shown, and the model still answers.
"""

from collections.abc import Mapping
import functools
from typing import Any

from jaxtyping import UInt8
import numpy as np

from protojax import parallel
from protojax.data import images
from protojax.data.stream import Stream
from protojax.prototypes.bank import bank_of
from protojax.types import State, UserError


class Atlas:
  """Training images by prototype, read when they are needed."""

  def __init__(self, method: Any, state: State, grid: tuple[int, int]) -> None:
    """Reads no image yet.

    Args:
      method: its `stream("train")` has the images.
      state: the provenance of its bank is read.
      grid: rows and columns of the cells.
    """
    self._method, self._grid = method, grid
    self._provenance = parallel.to_host(bank_of(state).provenance)
    self._index = functools.lru_cache(maxsize=1024)(self._find)

  @functools.cached_property
  def reason(self) -> str:
    """Why there are no images; empty if there are."""
    try:
      len(self._stream)
    except UserError as error:
      return str(error)
    return ""

  @functools.cached_property
  def _stream(self) -> Stream:
    return self._method.stream("train")

  def place(self, prototype: int) -> Mapping[str, Any] | None:
    """The image's name and the prototype's cell in shares of the image.

    None if the image cannot be shown.
    """
    index = self._index(prototype)
    if index is None:
      return None
    row, column = divmod(int(self._provenance.cell[prototype]), self._grid[1])
    ends = np.array([[row, column], [row + 1, column + 1]]) / self._grid
    (top, left), (bottom, right) = self._stream.kept.frame(index).in_image(ends)
    return {
      "image": self._stream.source.name(index),
      **{"top": float(top), "left": float(left)},
      **{"bottom": float(bottom), "right": float(right)},
    }

  def picture(self, prototype: int) -> UInt8[np.ndarray, "H W 3"] | None:
    """The image that a prototype was taken from, at its own size."""
    index = self._index(prototype)
    return None if index is None else self._stream.source[index]["image"]

  def _find(self, prototype: int) -> int | None:
    """Position of the image, if it is there and has not changed."""
    known = 0 <= prototype < len(self._provenance.image)
    if not known or self.reason:
      return None
    index = int(self._provenance.image[prototype])
    if not 0 <= index < len(self._stream):
      return None
    image = self._stream.source[index]["image"]
    digest = images.digest(self._stream.kept.frame(index).pixels(image))
    unchanged = np.array_equal(digest, self._provenance.content[prototype])
    return index if unchanged else None
