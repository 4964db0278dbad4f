"""Moves images, classes and boxes by matrices and meshes, on the device.

`warps` makes the matrices. A matrix maps points of the result to points of the
image; a mesh does so after it (`Bent`). Points are homogeneous (x, y, 1); x and
y run from -1 to 1 between the outer edges of an image. A draw of several
augmentations has several moves, in the order in which they are applied.
"""

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

_HIGHEST = jax.lax.Precision.HIGHEST
# A point on the border may be beyond it by rounding.
_MARGIN = 1e-4
# Where a box goes under a mesh: points on each of its sides, and rounds of the
# search for each.
_POINTS = 64
_ROUNDS = 40


class Bent(NamedTuple):
  """A move by a mesh and a matrix.

  A point of the result is displaced by the mesh first; the matrix maps what
  comes out to a point of the image.

  Attributes:
    matrix: as above.
    mesh: displacement (x, y) at each vertex of a regular mesh from edge to
      edge, rows first, bilinear in between.
  """

  # Any: tree transformations store shapes and stacked arrays here.
  matrix: Any
  mesh: Any


Move = Float[Array, "3 3"] | Bent


def warp(image: Float[Array, "H W c"], move: Move) -> Float[Array, "H W c"]:
  """Moved pixels, bilinear; outside the image, the border is repeated.

  Args:
    image: pixels.
    move: maps points of the result to points of the image.
  """
  height, width, channels = image.shape
  u, v, w = _moved(move, _grid(height, width))
  column = jnp.clip(((u / w + 1) * width - 1) / 2, 0, width - 1)
  row = jnp.clip(((v / w + 1) * height - 1) / 2, 0, height - 1)
  left = jnp.minimum(column.astype(jnp.int32), width - 2)
  top = jnp.minimum(row.astype(jnp.int32), height - 2)
  right_share = (column - left)[..., None]
  bottom_share = (row - top)[..., None]
  # By flat index, the four neighbours are gathered in half the time.
  flat = image.reshape(height * width, channels)
  at = top * width + left
  upper = flat[at] * (1 - right_share) + flat[at + 1] * right_share
  lower = (
    flat[at + width] * (1 - right_share) + flat[at + width + 1] * right_share
  )
  return upper * (1 - bottom_share) + lower * bottom_share


def crop(
  image: Float[Array, "H W c"], box: Float[Array, "4"]
) -> Float[Array, "H W c"]:
  """Enlarges a box of the image to the size of the image, bilinear.

  Two products with interpolation matrices and no gather: fast on every device.

  Args:
    image: pixels.
    box: left, top, width and height as shares of the image.
  """
  height, width, _ = image.shape
  rows = _interpolation(box[1], box[3], height)
  columns = _interpolation(box[0], box[2], width)
  # HIGHEST: TF32 would round grey levels to multiples of 1/8.
  return jnp.einsum("ij,jkc,lk->ilc", rows, image, columns, precision=_HIGHEST)


class Nearest(NamedTuple):
  """Where each pixel of a result comes from.

  Attributes:
    pixel: flat index of the nearest pixel of the image.
    inside: False where a warp looks outside its image.
  """

  pixel: Int[Array, "H W"]
  inside: Bool[Array, "H W"]

  def of(
    self, plane: Shaped[Array, "H W"], outside: int | bool
  ) -> Shaped[Array, "H W"]:
    """The moved plane, with a value for what lies outside."""
    return jnp.where(self.inside, plane.reshape(-1)[self.pixel], outside)


def nearest(moves: Sequence[Move], height: int, width: int) -> Nearest:
  """The nearest pixel of the image for each pixel of the result.

  The moves are joined, and there is one rounding. Pixels (`warp`) repeat the
  border of what each of them looks at; here, this is outside.
  """
  places = _grid(height, width)
  inside = jnp.ones((height, width), bool)
  for move in reversed(moves):
    u, v, w = _moved(move, places)
    places = jnp.stack([u / w, v / w, jnp.ones_like(u)])
    inside &= jnp.all(jnp.abs(places[:2]) <= 1 + _MARGIN, axis=0)
  column = _index(places[0], width)
  return Nearest(_index(places[1], height) * width + column, inside)


def boxes(
  moves: Sequence[Move], boxes: Float[Array, "t 4"]
) -> tuple[Float[Array, "t 4"], Bool[Array, "t"]]:
  """Boxes around what the result shows of each box; False: nothing.

  A warped box is a quadrilateral. Its part inside the frame is convex: its
  vertices are ends of sides, cut off at the frame, and corners of the frame.
  What a mesh makes of a box is in a box again before the next move.

  Args:
    moves: as above.
    boxes: (top, left, bottom, right), in shares of the image.
  """
  matrix, seen = jnp.eye(3), jnp.ones(len(boxes), bool)
  for move in moves:
    if not isinstance(move, Bent):
      matrix = _product(matrix, move)
      continue
    matrix = _product(matrix, move.matrix)
    boxes, still = jax.vmap(functools.partial(_box, matrix))(boxes)
    boxes = jax.vmap(functools.partial(_bent_box, move.mesh))(boxes)
    boxes = jnp.where(still[:, None], boxes, 0)
    matrix, seen = jnp.eye(3), seen & still
  found, still = jax.vmap(functools.partial(_box, matrix))(boxes)
  seen = seen & still
  return jnp.where(seen[:, None], found, 0), seen


def _bent_box(
  mesh: Float[Array, "g g 2"], box: Float[Array, "4"]
) -> Float[Array, "4"]:
  """Box around the points of the result that a mesh takes to a box's sides."""
  top, left, bottom, right = 2 * box - 1
  share = jnp.linspace(0, 1, _POINTS)
  across, down = left + share * (right - left), top + share * (bottom - top)
  aim = jnp.concatenate(
    [
      jnp.stack([across, jnp.full(_POINTS, top)]),
      jnp.stack([across, jnp.full(_POINTS, bottom)]),
      jnp.stack([jnp.full(_POINTS, left), down]),
      jnp.stack([jnp.full(_POINTS, right), down]),
    ],
    axis=1,
  )
  # Neighbouring vertices differ by less than their distance, so that each
  # round comes closer.
  found = jax.lax.fori_loop(
    0, _ROUNDS, lambda _, at: aim - _displacement(mesh, at), aim
  )
  low, high = jnp.min(found, axis=1), jnp.max(found, axis=1)
  ends = jnp.clip(jnp.stack([low[1], low[0], high[1], high[0]]), -1, 1)
  return (ends + 1) / 2


def _box(
  matrix: Float[Array, "3 3"], box: Float[Array, "4"]
) -> tuple[Float[Array, "4"], Bool[Array, ""]]:
  top, left, bottom, right = 2 * box - 1
  corners = jnp.stack(
    [
      jnp.stack([left, right, right, left]),
      jnp.stack([top, top, bottom, bottom]),
      jnp.ones(4),
    ]
  )
  u, v, w = _moved(_inverse(matrix), corners)
  starts = jnp.stack([u / w, v / w], axis=-1)
  ends, cut = _inside_frame(starts, jnp.roll(starts, -1, axis=0))
  frame = jnp.array([[-1.0, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]])
  u, v, w = _moved(matrix, frame)
  x, y = u / w, v / w
  held = (left < x) & (x < right) & (top < y) & (y < bottom)
  points = jnp.concatenate([ends, frame[:2].T])
  there = jnp.concatenate([cut, held])[:, None]
  low = jnp.min(points, axis=0, initial=1, where=there)
  high = jnp.max(points, axis=0, initial=-1, where=there)
  seen = jnp.all(high > low)
  found = (jnp.stack([low[1], low[0], high[1], high[0]]) + 1) / 2
  return jnp.where(seen, found, 0), seen


def _inside_frame(
  start: Float[Array, "s 2"], end: Float[Array, "s 2"]
) -> tuple[Float[Array, "2*s 2"], Bool[Array, "2*s"]]:
  """Ends of the parts of segments inside the frame; False: no part is."""
  way = end - start
  still = way == 0
  safe = jnp.where(still, 1, way)
  low, high = (-1 - start) / safe, (1 - start) / safe
  # Along an axis on which it stands still, a segment is inside or it is not.
  within = jnp.abs(start) <= 1
  first = jnp.where(still, jnp.where(within, 0, 2), jnp.minimum(low, high))
  last = jnp.where(still, jnp.where(within, 1, -1), jnp.maximum(low, high))
  first = jnp.clip(jnp.max(first, axis=1), 0, None)[:, None]
  last = jnp.clip(jnp.min(last, axis=1), None, 1)[:, None]
  there = (first <= last)[:, 0]
  ends = jnp.concatenate([start + first * way, start + last * way])
  return ends, jnp.concatenate([there, there])


def _moved(move: Move, places: Array) -> Array:
  """Homogeneous places in the image; those of the result have w = 1."""
  matrix = move
  if isinstance(move, Bent):
    displaced = places[:2] + _displacement(move.mesh, places[:2])
    places = jnp.concatenate([displaced, places[2:]])
    matrix = move.matrix
  return jnp.einsum("ij,j...->i...", matrix, places, precision=_HIGHEST)


def _displacement(
  mesh: Float[Array, "g g 2"], places: Float[Array, "2 *n"]
) -> Float[Array, "2 *n"]:
  """What a mesh adds to (x, y); beyond its edge, what it adds there."""
  last = len(mesh) - 1
  column, row = jnp.clip((places + 1) / 2, 0, 1) * last
  left = jnp.minimum(column.astype(jnp.int32), last - 1)
  top = jnp.minimum(row.astype(jnp.int32), last - 1)
  right_share, bottom_share = (column - left)[None], (row - top)[None]
  # Of the four vertices around each place.
  flat = mesh.reshape(-1, 2).T
  at = top * (last + 1) + left
  upper = flat[:, at] * (1 - right_share) + flat[:, at + 1] * right_share
  below = at + last + 1
  lower = flat[:, below] * (1 - right_share) + flat[:, below + 1] * right_share
  return upper * (1 - bottom_share) + lower * bottom_share


def _product(a: Array, b: Array) -> Array:
  return jnp.matmul(a, b, precision=_HIGHEST)


def _inverse(matrix: Array) -> Array:
  """The inverse up to a factor, which moves no homogeneous point."""
  a, b, c = matrix.T
  return jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])


def _grid(height: int, width: int) -> Array:
  y, x = jnp.meshgrid(_centres(height), _centres(width), indexing="ij")
  return jnp.stack([x, y, jnp.ones_like(x)])


def _centres(size: int) -> Array:
  return (2 * jnp.arange(size) + 1) / size - 1


def _index(places: Array, size: int) -> Array:
  at = jnp.floor((places + 1) * size / 2)
  return jnp.clip(at, 0, size - 1).astype(jnp.int32)


def _interpolation(start: Array, length: Array, size: int) -> Array:
  """Matrix [size, size] that samples `size` points on a stretch of an axis."""
  at = (start + length * (jnp.arange(size) + 0.5) / size) * size - 0.5
  at = jnp.clip(at, 0, size - 1)
  return jnp.maximum(1 - jnp.abs(at[:, None] - jnp.arange(size)[None]), 0)
