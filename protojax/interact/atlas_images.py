"""The atlas: what the prototypes of a run were taken from.

Its images are those of the training split, which may be gone or may have
changed since; then there is nothing to show, and the model answers as before.
"""

from collections.abc import Mapping
import functools
from typing import Any

from jaxtyping import UInt8
import numpy as np

from protojax import parallel
from protojax.data import images, transforms
from protojax.data.stream import Stream
from protojax.types import State, UserError


class Atlas:
  """Training images by prototype, read when they are asked for."""

  def __init__(self, method: Any, state: State, grid: tuple[int, int]) -> None:
    """Prepares to look prototypes up.

    Args:
      method: its `stream("train")` has the images.
      state: the buffer "provenance" says where prototypes come from.
      grid: rows and columns of the cells.
    """
    self._method, self._grid = method, grid
    self._provenance = parallel.to_host(state.buffers["provenance"])
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

    None where there is nothing to show.
    """
    index = self._index(prototype)
    if index is None:
      return None
    rows, columns = self._grid
    row, column = divmod(int(self._provenance.cell[prototype]), columns)
    return {
      "image": self._stream.source.name(index),
      "top": row / rows,
      "left": column / columns,
      "bottom": (row + 1) / rows,
      "right": (column + 1) / columns,
    }

  def picture(self, prototype: int) -> UInt8[np.ndarray, "H W 3"] | None:
    """The image that a prototype was taken from, at its own size."""
    index = self._index(prototype)
    return None if index is None else self._stream.source[index]["image"]

  def _find(self, prototype: int) -> int | None:
    """Where the image stands, if it is there and what it was."""
    known = 0 <= prototype < len(self._provenance.image)
    if not known or self.reason:
      return None
    index = int(self._provenance.image[prototype])
    if not 0 <= index < len(self._stream):
      return None
    image = self._stream.source[index]["image"]
    digest = images.digest(transforms.resize(image, self._stream.image_size))
    unchanged = np.array_equal(digest, self._provenance.content[prototype])
    return index if unchanged else None
