"""Objects in a photograph, each as a box of pixels and as a cuboid in space.

Space is that of a camera, in metres: x to the right, y down, z forward. A
cuboid stands upright on its place, the middle of its bottom; its yaw turns it
around y, and is 0 where its length lies along x. So KITTI has it (Geiger et
al., CVPR 2012).
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
import numpy as np

# Nearer than this nothing is seen, in metres.
NEAR = 0.05


class Cuboids(NamedTuple):
  """Of n objects.

  Attributes:
    kinds: names, such as "Car".
    boxes: left, top, right, bottom, in pixels.
    sizes: height, width, length.
    places: x, y, z of the middle of the bottom.
    yaws: around y, in radians.
    alphas: yaw as seen from the camera; -10 where unknown.
    truncated: share that is outside the image; -1 where unknown.
    occluded: 0 (not), 1 (partly), 2 (largely), 3 or -1 (unknown).
    scores: of what was found; nan for truth.
  """

  kinds: tuple[str, ...]
  boxes: Float[np.ndarray, "n 4"]
  sizes: Float[np.ndarray, "n 3"]
  places: Float[np.ndarray, "n 3"]
  yaws: Float[np.ndarray, " n"]
  alphas: Float[np.ndarray, " n"]
  truncated: Float[np.ndarray, " n"]
  occluded: Int[np.ndarray, " n"]
  scores: Float[np.ndarray, " n"]

  @property
  def number(self) -> int:
    """n."""
    return len(self.kinds)

  def chosen(self, which: Sequence[int] | np.ndarray) -> "Cuboids":
    """Some of the objects, by number or by a mask."""
    at = np.arange(self.number)[which]
    kinds = tuple(self.kinds[int(i)] for i in at)
    return Cuboids(kinds, *(column[at] for column in self[1:]))


def empty() -> Cuboids:
  """No object."""
  boxes, sizes = np.zeros((0, 4)), np.zeros((0, 3))
  return made((), boxes, sizes, sizes, np.zeros(0))


def made(
  kinds: Sequence[str],
  boxes: Float[np.ndarray, "n 4"],
  sizes: Float[np.ndarray, "n 3"],
  places: Float[np.ndarray, "n 3"],
  yaws: Float[np.ndarray, " n"],
  scores: Float[np.ndarray, " n"] | None = None,
) -> Cuboids:
  """Objects in full sight; the yaw as seen follows from the place."""
  n = len(kinds)
  seen = turned(yaws - np.arctan2(places[:, 0], places[:, 2]))
  if scores is None:
    scores = np.full(n, np.nan)
  whole, clear = np.zeros(n), np.zeros(n, np.int64)
  return Cuboids(
    tuple(kinds), boxes, sizes, places, yaws, seen, whole, clear, scores
  )


def turned(angles: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
  """Angles brought to -pi..pi."""
  return (angles + np.pi) % (2 * np.pi) - np.pi


def grounds(
  sizes: Float[np.ndarray, "n 3"],
  places: Float[np.ndarray, "n 3"],
  yaws: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 4 2"]:
  """(x, z) of the corners of the bottoms, in turn."""
  along = np.array([1, 1, -1, -1]) / 2 * sizes[:, 2:3]
  across = np.array([1, -1, -1, 1]) / 2 * sizes[:, 1:2]
  cos, sin = np.cos(yaws)[:, None], np.sin(yaws)[:, None]
  x = cos * along + sin * across + places[:, :1]
  z = -sin * along + cos * across + places[:, 2:]
  return np.stack([x, z], axis=-1)


def corners(
  sizes: Float[np.ndarray, "n 3"],
  places: Float[np.ndarray, "n 3"],
  yaws: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 8 3"]:
  """The corners: those of the bottom in turn, then those of the top."""
  flat = grounds(sizes, places, yaws)
  bottom = np.repeat(places[:, 1:2], 4, axis=1)
  top = bottom - sizes[:, :1]
  levels = [
    np.stack([flat[..., 0], y, flat[..., 1]], axis=-1) for y in (bottom, top)
  ]
  return np.concatenate(levels, axis=1)


def projected(
  points: Float[np.ndarray, "*n 3"], camera: Float[np.ndarray, "3 4"]
) -> Float[np.ndarray, "*n 2"]:
  """(x, y) in pixels of points before a camera, by its projection matrix."""
  whole = points @ camera[:, :3].T + camera[:, 3]
  return whole[..., :2] / np.maximum(whole[..., 2:], NEAR)


def unprojected(
  pixels: Float[np.ndarray, "*n 2"],
  depths: Float[np.ndarray, "*n"],
  camera: Float[np.ndarray, "3 4"],
) -> Float[np.ndarray, "*n 3"]:
  """Points of these depths z that are seen at (x, y)."""
  u, v = pixels[..., 0], pixels[..., 1]
  scale = camera[2, 2] * depths + camera[2, 3]
  left = np.stack(
    [
      u * scale - camera[0, 2] * depths - camera[0, 3],
      v * scale - camera[1, 2] * depths - camera[1, 3],
    ],
    axis=-1,
  )
  # Of a camera without skew; KITTI's and nuScenes' have none.
  xy = left / np.array([camera[0, 0], camera[1, 1]])
  return np.concatenate([xy, depths[..., None]], axis=-1)


def around(
  sizes: Float[np.ndarray, "n 3"],
  places: Float[np.ndarray, "n 3"],
  yaws: Float[np.ndarray, " n"],
  camera: Float[np.ndarray, "3 4"],
) -> Float[np.ndarray, "n 4"]:
  """Boxes (left, top, right, bottom) around cuboids, not cut at the image."""
  seen = projected(corners(sizes, places, yaws), camera)
  return np.concatenate([seen.min(axis=1), seen.max(axis=1)], axis=1)


def inside(
  boxes: Float[np.ndarray, "n 4"], height: int, width: int
) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"]]:
  """Boxes cut at the edges of the image, and whether something is left."""
  most = np.array([width, height, width, height])
  cut = np.clip(boxes, 0, most)
  return cut, np.all(cut[:, 2:] > cut[:, :2], axis=1)
