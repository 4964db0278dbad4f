"""A world of cars, cyclists and pedestrians before a pinhole camera.

Each is a cuboid that stands on the ground, with pieces of photographs on its
sides, in a colour of its own; ground and sky are photographs, too. Boxes and
cuboids are exact. A scene can be shown in a condition: as it is, in snow, fog,
at night, or with noise. The photographs come with scikit-image and scikit-learn
(the `demo` extra).
"""

import functools
from typing import NamedTuple

from jaxtyping import Float, UInt8
import numpy as np
from PIL import Image

from protojax.data import cuboids
from protojax.data.cuboids import Cuboids
from protojax.datasets import photographs, scene_world

KINDS = ("Car", "Pedestrian", "Cyclist")
CONDITIONS = (*scene_world.CONDITIONS, "noise")
HEIGHT, WIDTH = 32, 64  # of an image, in pixels
MOST = 3  # objects of a scene
# Focal length, and where the horizon is: in pixels.
_FOCAL, _HORIZON = 46.0, 11.0
_CAMERA = 1.5  # metres above the ground
CAMERA = np.array(
  [[_FOCAL, 0, WIDTH / 2, 0], [0, _FOCAL, _HORIZON, 0], [0, 0, 1, 0]]
)
# Metres: height, width, length of each kind.
_SIZES = np.array([[1.55, 1.7, 3.8], [1.75, 0.65, 0.7], [1.7, 0.65, 1.8]])
_NEAR, _FAR = 4.5, 12.0  # metres, of the middle of an object
_SHARED = 0.1  # IoU of two boxes of the image, at most
_VISIBLE = 0.8  # share of a box in the image, at least
# Photograph, and left, top, width, height of what the sides of a kind show.
_SIDES = (
  ("stereo_motorcycle", (200, 150, 300, 200)),
  ("astronaut", (60, 170, 250, 330)),
  ("stereo_motorcycle", (118, 235, 156, 165)),
)
_GROUNDS, _SKIES = ("gravel", "grass", "brick"), ("rocket", "china")
_TEXTURE = 16  # pixels on a side of a texture
# How bright sides are: front, back, left, right, top.
_LIGHT = (1.25, 0.55, 0.8, 0.95, 1.1)
_FINE = 2  # rays along each side of a pixel
_NOISE = 0.15  # deviation


class Scene(NamedTuple):
  """What a scene holds.

  Attributes:
    objects: with exact boxes.
    colours: red, green and blue of each, 0..1.
    seed: of ground, sky and weather.
  """

  objects: Cuboids
  colours: Float[np.ndarray, "n 3"]
  seed: tuple[int, ...]


def draw(generator: np.random.Generator, seed: tuple[int, ...]) -> Scene:
  """A scene of one to three objects that hardly hide one another."""
  count, kept = int(generator.integers(1, MOST + 1)), []
  while len(kept) < count:
    kind = int(generator.integers(len(KINDS)))
    size = _SIZES[kind] * generator.uniform(0.9, 1.1, 3)
    z = generator.uniform(_NEAR, _FAR)
    x = generator.uniform(-0.6, 0.6) * z
    yaw = generator.uniform(-np.pi, np.pi)
    place = np.array([x, _CAMERA, z])
    box = cuboids.around(size[None], place[None], np.array([yaw]), CAMERA)
    cut, there = cuboids.inside(box, HEIGHT, WIDTH)
    areas = np.prod(cut[:, 2:] - cut[:, :2]), np.prod(box[:, 2:] - box[:, :2])
    hides = any(_shared(cut[0], other[3]) > _SHARED for other in kept)
    if there[0] and areas[0] >= _VISIBLE * areas[1] and not hides:
      kept.append((kind, size, place, cut[0], yaw, 1 - areas[0] / areas[1]))
  found = cuboids.made(
    tuple(KINDS[row[0]] for row in kept),
    np.stack([row[3] for row in kept]),
    np.stack([row[1] for row in kept]),
    np.stack([row[2] for row in kept]),
    np.array([row[4] for row in kept]),
  )
  found = found._replace(truncated=np.array([row[5] for row in kept]))
  return Scene(found, generator.uniform(0.35, 1.0, (count, 3)), seed)


def caption(kinds: tuple[str, ...], condition: str) -> str:
  """As in "a car and a cyclist in the snow", each kind once."""
  found = " and ".join(f"a {kind.lower()}" for kind in sorted(set(kinds)))
  return found if condition == CONDITIONS[0] else f"{found} in the {condition}"


def words(conditions: tuple[str, ...]) -> tuple[str, ...]:
  """All that captions of scenes in some conditions are made of."""
  kinds = (kind.lower() for kind in KINDS)
  said = (name for name in conditions if name != CONDITIONS[0])
  return (*("a", "and", "in", "the"), *kinds, *said)


def picture(
  scene: Scene, split: str, condition: str
) -> UInt8[np.ndarray, "H W 3"]:
  """What the camera sees.

  Grounds and textures of training and other splits are of different halves of
  the photographs. The same scene in another condition differs in nothing else.

  Args:
    scene: what is there.
    split: "train", or another.
    condition: of `CONDITIONS`.
  """
  generator = np.random.default_rng(scene.seed)
  canvas = _scenery(split, generator)
  depth = np.full(canvas.shape[:2], np.inf)
  objects = scene.objects
  for i, kind in enumerate(objects.kinds):
    number = KINDS.index(kind)
    texture = _texture(number)
    solid = cuboids.corners(
      objects.sizes[i : i + 1],
      objects.places[i : i + 1],
      objects.yaws[i : i + 1],
    )[0]
    for face, light in zip(_faces(solid), _LIGHT, strict=True):
      _paint(canvas, depth, face, light * texture[..., None] * scene.colours[i])
  fine = canvas.reshape(HEIGHT, _FINE, WIDTH, _FINE, 3)
  seen = np.clip(fine.mean((1, 3)), 0, 1)
  if condition == "noise":
    seen = seen + generator.normal(0, _NOISE, seen.shape)
  else:
    number = CONDITIONS.index(condition)
    seen = scene_world.weathered(seen, number, generator)
  return np.rint(255 * np.clip(seen, 0, 1)).astype(np.uint8)


def _faces(
  solid: Float[np.ndarray, "8 3"],
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]:
  """An upper corner, and the ways along and down, of the five sides that show.

  Front, back, left, right and top, in the order of `_LIGHT`. Of the corners of
  `cuboids.corners`, 0 and 1 are of the front, 2 and 3 of the back.
  """
  sides = ((0, 1), (2, 3), (3, 0), (1, 2))
  found = [
    (solid[a + 4], solid[b + 4] - solid[a + 4], solid[a] - solid[a + 4])
    for a, b in sides
  ]
  top = solid[4], solid[5] - solid[4], solid[7] - solid[4]
  return (*found, top)


@functools.cache
def _rays() -> Float[np.ndarray, "H W 3"]:
  """Direction of each ray, with z = 1."""
  y = (np.arange(HEIGHT * _FINE) + 0.5) / _FINE
  x = (np.arange(WIDTH * _FINE) + 0.5) / _FINE
  x, y = np.meshgrid((x - WIDTH / 2) / _FOCAL, (y - _HORIZON) / _FOCAL)
  return np.stack([x, y, np.ones_like(x)], axis=-1)


def _paint(
  canvas: Float[np.ndarray, "H W 3"],
  depth: Float[np.ndarray, "H W"],
  face: tuple[np.ndarray, np.ndarray, np.ndarray],
  texture: Float[np.ndarray, "t t 3"],
) -> None:
  """Paints a side where a ray meets it before anything else."""
  corner, along, down = face
  ends = np.stack(
    [corner, corner + along, corner + down, corner + along + down]
  )
  low, high = (
    op(cuboids.projected(ends, CAMERA), axis=0) * _FINE
    for op in (np.min, np.max)
  )
  rows = slice(max(int(low[1]), 0), max(int(high[1]) + 2, 0))
  columns = slice(max(int(low[0]), 0), max(int(high[0]) + 2, 0))
  rays = _rays()[rows, columns]
  normal = np.cross(along, down)
  facing = rays @ normal
  z = (corner @ normal) / np.where(np.abs(facing) < 1e-9, 1e-9, facing)
  point = rays * z[..., None] - corner
  a, b = (point @ way / (way @ way) for way in (along, down))
  hit = (z > 0) & (z < depth[rows, columns])
  hit &= (a >= 0) & (a < 1) & (b >= 0) & (b < 1)
  at = [np.clip((x * _TEXTURE).astype(int), 0, _TEXTURE - 1) for x in (b, a)]
  canvas[rows, columns][hit] = texture[at[0], at[1]][hit]
  depth[rows, columns][hit] = z[hit]


def _scenery(
  split: str, generator: np.random.Generator
) -> Float[np.ndarray, "H W 3"]:
  """Ground to the horizon, and sky above it."""
  ground = _GROUNDS[int(generator.integers(len(_GROUNDS)))]
  plane = photographs.half_crop(ground, split, 128, generator) / 255.0
  plane = plane.mean(-1, keepdims=True) * np.array([0.75, 0.72, 0.68])
  rays = _rays()
  down = np.maximum(rays[..., 1], 1e-3)
  far = _CAMERA / down
  x, z = (np.abs(rays[..., 0] * far * 12), far * 12)
  canvas = plane[z.astype(int) % 128, x.astype(int) % 128]
  sky = _SKIES[int(generator.integers(len(_SKIES)))]
  above = photographs.half_crop(sky, split, 128, generator)
  small = Image.fromarray(above).resize(
    (WIDTH * _FINE, HEIGHT * _FINE), Image.Resampling.BILINEAR
  )
  sky_plane = 0.45 + 0.4 * np.asarray(small) / 255.0
  return np.where(rays[..., 1:2] > 0, canvas, sky_plane)


@functools.cache
def _texture(kind: int) -> Float[np.ndarray, "t t"]:
  """Grey levels on the sides of a kind."""
  name, (left, top, width, height) = _SIDES[kind]
  piece = photographs.photograph(name)[top : top + height, left : left + width]
  grey = Image.fromarray(np.ascontiguousarray(piece)).convert("L")
  small = grey.resize((_TEXTURE, _TEXTURE), Image.Resampling.BOX)
  plane = np.asarray(small, np.float64)
  low, high = np.percentile(plane, (2, 98))
  return 0.35 + 0.65 * np.clip((plane - low) / (high - low), 0, 1)


def _shared(one: np.ndarray, other: np.ndarray) -> float:
  low = np.maximum(one[:2], other[:2])
  high = np.minimum(one[2:], other[2:])
  both = np.prod(np.maximum(high - low, 0))
  areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
  return float(both / (sum(areas) - both))
