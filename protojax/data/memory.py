"""Keeps decoded images in memory, so that only the first epoch reads files.

`stream` reads every image through it.
"""

import weakref

from jaxtyping import Int32, UInt8
import numpy as np

from protojax.data import transforms
from protojax.data.source import Source


class ImageMemory:
  """Images of a source at network size; as many are kept as fit.

  Attributes:
    size: side of an image, in pixels.

  Threads may share it: a row is marked as known after it is written, and two
  threads that decode the same image write the same pixels.
  """

  def __init__(self, source: Source, image_size: int, limit: int):
    self._source = source
    self.size = image_size
    count = min(len(source), limit // (3 * image_size**2))
    # An empty array takes memory only where something is written.
    self._pixels = np.empty((count, image_size, image_size, 3), np.uint8)
    self._known = np.zeros(count, bool)

  def read(
    self, indices: Int32[np.ndarray, "b"]
  ) -> UInt8[np.ndarray, "b size size 3"]:
    """Pixels of some images; those that are not kept are decoded."""
    # Each image once: padding repeats the last one.
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
  """The memory that all streams of a source at one size share.

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
