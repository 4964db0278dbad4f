"""Masks of the object in an image and points of its parts, for metrics.

A source may have `places`, boxes of objects, or `parts`, named points. Both are
in shares of the image's sides, because streams squash every image to a square.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
import numpy as np

from protojax.data.places import Places
from protojax.data.source import Source


@runtime_checkable
class Boxed(Protocol):
  """A source that may know the boxes of objects in its images."""

  def places(self, i: int) -> Places | None:
    """Boxes of one image; None if unknown."""
    ...


@runtime_checkable
class Parted(Protocol):
  """A source that may know the parts of its objects."""

  def parts(self, i: int) -> Float[np.ndarray, "r 3"] | None:
    """(row, column, 1 if seen else 0) of each part; None if unknown."""
    ...


def masks(
  source: Source, indices: Sequence[int] | np.ndarray, size: int
) -> Bool[np.ndarray, "b {size} {size}"] | None:
  """Masks of images of `size` x `size`: pixels whose middle lies in a box.

  The mask of an image without a box is empty. None if the source knows no
  boxes.
  """
  if not isinstance(source, Boxed):
    return None
  found = [source.places(int(i)) for i in indices]
  known = [places for places in found if places is not None]
  if len(known) < len(found):
    return None
  return np.stack([_covered(places, size) for places in known])


def parts(
  source: Source, indices: Sequence[int] | np.ndarray
) -> Float[np.ndarray, "b r 3"] | None:
  """Parts of each image, as `Parted` gives them; None if unknown."""
  if not isinstance(source, Parted):
    return None
  found = [source.parts(int(i)) for i in indices]
  known = [rows for rows in found if rows is not None]
  return np.stack(known) if len(known) == len(found) else None


def _covered(places: Places, size: int) -> Bool[np.ndarray, "size size"]:
  middle = (np.arange(size) + 0.5) / size
  top, left, bottom, right = places.boxes.T[..., None]
  rows = (top <= middle) & (middle < bottom)
  columns = (left <= middle) & (middle < right)
  return np.any(rows[:, :, None] & columns[:, None], axis=0)
