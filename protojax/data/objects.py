"""Masks of the object in an image and points of its parts, for metrics.

A source may have `places`, boxes of objects, or `parts`, named points. Both are
in shares of the image's sides; a stream says what the network sees of it.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.data.places import Places
from protojax.data.resizing import Frame
from protojax.data.stream import Stream
from protojax.types import Box


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


@runtime_checkable
class PartMasked(Protocol):
  """A source that may know which part of its object a pixel shows."""

  def part_plane(self, i: int) -> Int[np.ndarray, "H W"] | None:
    """The part of each pixel of one image, 0 for none; None if unknown."""
    ...


def part_planes(
  stream: Stream, indices: Sequence[int] | np.ndarray
) -> Int[np.ndarray, "b S S"] | None:
  """The parts of pixels at network size; None if one image's are unknown."""
  source = stream.source
  if not isinstance(source, PartMasked):
    return None
  found = [source.part_plane(int(i)) for i in indices]
  known = [plane for plane in found if plane is not None]
  if len(known) < len(found):
    return None
  frames = [stream.kept.frame(int(i)) for i in indices]
  pairs = zip(known, frames, strict=True)
  return np.stack([frame.nearest(plane) for plane, frame in pairs])


def masks(
  stream: Stream, indices: Sequence[int] | np.ndarray
) -> Bool[np.ndarray, "b S S"] | None:
  """Masks of images at network size: pixels whose middle lies in a box.

  The mask of an image without a box is empty. None if the source knows no
  boxes.
  """
  source = stream.source
  if not isinstance(source, Boxed):
    return None
  found = [source.places(int(i)) for i in indices]
  known = [places for places in found if places is not None]
  if len(known) < len(found):
    return None
  frames = [stream.kept.frame(int(i)) for i in indices]
  pairs = zip(known, frames, strict=True)
  return np.stack([_covered(p, f, f.size, f.size) for p, f in pairs])


def share(mask: Bool[np.ndarray, "S S"], box: Box) -> float | None:
  """The share of a box that a mask covers; None if the mask is empty."""
  if not mask.any():
    return None
  return float(mask[box.top : box.bottom, box.left : box.right].mean())


def own_mask(stream: Stream, index: int) -> Bool[np.ndarray, "H W"] | None:
  """The mask of what the network sees of an image, at the image's own size.

  That is the whole image if nothing of it is cut off. None if the source knows
  no boxes of it.
  """
  source = stream.source
  places = source.places(index) if isinstance(source, Boxed) else None
  if places is None:
    return None
  frame = stream.kept.frame(index)
  rows, columns = source[index]["image"].shape[:2]
  return _covered(
    places,
    frame,
    max(1, round(frame.size * rows / frame.height)),
    max(1, round(frame.size * columns / frame.width)),
  )


def parts(
  stream: Stream, indices: Sequence[int] | np.ndarray
) -> Float[np.ndarray, "b r 3"] | None:
  """Parts of each image, as `Parted` gives them; None if unknown.

  They are in shares of what the network sees; one outside of it is not seen.
  """
  source = stream.source
  if not isinstance(source, Parted):
    return None
  found = [source.parts(int(i)) for i in indices]
  known = [rows for rows in found if rows is not None]
  if len(known) < len(found):
    return None
  frames = [stream.kept.frame(int(i)) for i in indices]
  pairs = zip(known, frames, strict=True)
  return np.stack([frame.points(rows) for rows, frame in pairs])


def _covered(
  places: Places, frame: Frame, height: int, width: int
) -> Bool[np.ndarray, "{height} {width}"]:
  """What the boxes cover of the square of a frame, in so many pixels."""
  row, column = ((np.arange(n) + 0.5) / n for n in (height, width))
  boxes, _ = frame.boxes(places.boxes)
  top, left, bottom, right = boxes.T[..., None]
  rows = (top <= row) & (row < bottom)
  columns = (left <= column) & (column < right)
  return np.any(rows[:, :, None] & columns[:, None], axis=0)
