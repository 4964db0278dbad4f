"""Receptive fields: the part of the image that a cell of the features can see.

Follows the sizes through the layers as the reference's `receptive_field.py`
does. The box is an upper bound. For all but shallow networks it is the whole
image, so it does not say where a prototype is found; the box of
`similarity_map` does.
"""

from collections.abc import Sequence
import dataclasses

from jaxtyping import Int
import numpy as np

from protojax.backbones.backbone import Layer
from protojax.layers.conv import same
from protojax.types import ArrayLike, UserError


@dataclasses.dataclass(frozen=True)
class Axis:
  """The fields of all places along one axis, in pixels.

  Attributes:
    cells: number of places (n).
    jump: distance between the centres of neighbouring fields (j).
    size: side of a field before it is cut at the image's edge (r).
    start: centre of the first field; 0.5 is the middle of a pixel.
    image_size: side of the image.
  """

  cells: int
  jump: int
  size: int
  start: float
  image_size: int

  def span(self, place: Int[ArrayLike, "..."]) -> Int[np.ndarray, "... 2"]:
    """(first, last + 1) pixel of a place's field, cut at the edges."""
    centre = self.start + np.asarray(place) * self.jump
    ends = np.stack([centre - self.size / 2, centre + self.size / 2], axis=-1)
    return np.clip(ends, 0, self.image_size).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
  """The fields of all cells of a map over a square image.

  Attributes:
    rows: the axis from top to bottom.
    columns: the axis from left to right.
  """

  rows: Axis
  columns: Axis

  def box(self, cell: Int[ArrayLike, "..."] | int) -> Int[np.ndarray, "... 4"]:
    """(top, left, bottom, right) of a cell's field, cut at the edges.

    Bottom and right are excluded. Cells are row-major.
    """
    place = np.stack(np.divmod(cell, self.columns.cells), axis=-1)
    vertical = self.rows.span(place[..., :1])
    horizontal = self.columns.span(place[..., 1:])
    spans = np.concatenate([vertical, horizontal], axis=-2)
    return np.concatenate([spans[..., 0], spans[..., 1]], axis=-1)


def chain(
  layers: Sequence[Layer], image_size: int, height: int = 1, width: int = 1
) -> ReceptiveField:
  """The fields of the places that a prototype can take on the last map.

  Each layer of kernel k, stride s, padding p before: j' = j s, r' = r + (k-1)j,
  start' = start + ((k-1)/2 - p) j (ProtoPNet's `receptive_field.py`). Upsampled
  f times: j' = j / f, r' = r + j, start' = start + (1/f - 1)/2 j. Layers
  side by side count as one after the other, an upper bound; shortcuts add
  nothing.

  Args:
    layers: the spatial steps of a backbone, in order.
    image_size: side of the image in pixels.
    height: rows of cells of the prototype; it is not padded.
    width: columns of cells of the prototype.

  Raises:
    UserError: a kernel is larger than its input.
  """
  return ReceptiveField(
    _axis(layers, image_size, height), _axis(layers, image_size, width)
  )


def _axis(layers: Sequence[Layer], image_size: int, cells: int) -> Axis:
  n, jump, size, start = image_size, 1, 1, 0.5
  for layer in (*layers, Layer(cells, 1, "VALID")):
    if layer.upsampled > 1:
      n *= layer.upsampled
      start += (1 / layer.upsampled - 1) / 2 * jump
      size += jump
      jump //= layer.upsampled
      continue
    before, after = same(n, layer.kernel, layer.stride, layer.padding)
    covered = n + before + after
    if covered < layer.kernel:
      raise UserError(
        f"at image_size {image_size} a kernel of {layer.kernel} cells meets "
        f"a map of {covered}: use a larger image_size or smaller prototypes"
      )
    n = (covered - layer.kernel) // layer.stride + 1
    start += ((layer.kernel - 1) / 2 - before) * jump
    size += (layer.kernel - 1) * jump
    jump *= layer.stride
  return Axis(n, jump, size, start, image_size)
