"""Decoded images kept in memory: only the first epoch waits for files."""

import weakref

from jaxtyping import Int32, UInt8
import numpy as np

from protojax.data import transforms
from protojax.data.source import Source


class ImageMemory:
  """The images of a source at network size, kept as far as they fit.

  Attributes:
    size: side of an image, in pixels.

  Threads may share it: a row is marked only once it is whole, and two threads
  that decode the same image write the same pixels.
  """

  def __init__(self, source: Source, image_size: int, limit: int):
    self._source = source
    self.size = image_size
    count = min(len(source), limit // (3 * image_size**2))
    # Not touched before it is used: an empty array costs address space only.
    self._pixels = np.empty((count, image_size, image_size, 3), np.uint8)
    self._known = np.zeros(count, bool)

  def read(
    self, indices: Int32[np.ndarray, "b"]
  ) -> UInt8[np.ndarray, "b size size 3"]:
    """Pixels of some images, decoded if they are not here."""
    # Once each: padding repeats an image.
    distinct, rows = np.unique(indices, return_inverse=True)
    images = np.empty((len(distinct), self.size, self.size, 3), np.uint8)
    for row, i in enumerate(distinct.tolist()):
      images[row] = self._image(i)
    return images[rows]

  def _image(self, i: int) -> UInt8[np.ndarray, "size size 3"]:
    fits = i < len(self._known)
    if fits and self._known[i]:
      return self._pixels[i]
    image = transforms.resize(self._source[i]["image"], self.size)
    if fits:
      self._pixels[i] = image
      self._known[i] = True
    return image


def shared(source: Source, image_size: int, limit: int) -> ImageMemory:
  """The one memory of a source at a size, while any stream holds it.

  Args:
    source: the images.
    image_size: side, in pixels.
    limit: bytes.
  """
  key = (id(source), image_size, limit)  # the memory keeps its source alive
  found = _MEMORIES.get(key)
  if found is None:
    found = _MEMORIES[key] = ImageMemory(source, image_size, limit)
  return found


_MEMORIES: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
