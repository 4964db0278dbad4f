"""Where in an image the object is, and its parts, for metrics that ask it.

Sources that know it have `places`, boxes of things, or `parts`, named points;
both are in shares of the image as the source gives it, since the pipeline
squashes every image to a square.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
import numpy as np

from protojax.data.places import Places
from protojax.data.source import Source


@runtime_checkable
class Boxed(Protocol):
  """A source that may know where the things in its images are."""

  def places(self, i: int) -> Places | None:
    """Of one image; None where nobody knows."""
    ...


@runtime_checkable
class Parted(Protocol):
  """A source that may know where the parts of its objects are."""

  def parts(self, i: int) -> Float[np.ndarray, "r 3"] | None:
    """(row, column, 1 if seen else 0) of each part; None where nobody knows."""
    ...


def masks(
  source: Source, indices: Sequence[int] | np.ndarray, size: int
) -> Bool[np.ndarray, "b {size} {size}"] | None:
  """The pixels of images of `size` x `size` whose middle lies in some box.

  An image without a box has none. None where the source knows of no boxes.
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
  """Of each image its parts, as `Parted` gives them; None where unknown."""
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
