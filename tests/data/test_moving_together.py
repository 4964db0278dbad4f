"""Pixels, classes and boxes stay together; twins in Pillow and SciPy."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
import pytest
from scipy import ndimage

from protojax.data import geometry, transforms, warps

HEIGHT, WIDTH = 48, 40
COUNT = 60
SIDES = np.array([HEIGHT, WIDTH, HEIGHT, WIDTH])
# (top, left, bottom, right): one may leave the picture.
BOXES = np.float32(np.array([[12, 12, 31, 32], [0, 2, 10, 14]]) / SIDES)
# They move nothing, and the shape is no longer told from the rest by colour.
_UNTOLD = {
  *("blur", "resample", "cutout"),
  *("photometric", "bias", "rician", "gamma"),
}
NAMES = (
  *(name for name in transforms.AUGMENTATIONS if name not in _UNTOLD),
  *("rotate,flip", "crop,distort,rotate"),
)


def image(height=24, width=31):
  """A smooth image: only rounding to grey levels makes a difference."""
  y, x = np.mgrid[:height, :width]
  waves = [np.sin(x / 3 + k) * np.cos(y / 4 - k) for k in range(3)]
  return (127 + 120 * np.stack(waves, -1)).astype(np.uint8)


def pillow(pixels, matrix):
  """The same warp by Pillow: in pixels, black beyond the border."""
  height, width = pixels.shape[:2]
  to_unit = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
  m = np.linalg.inv(to_unit) @ np.asarray(matrix, float) @ to_unit
  coefficients = (m / m[2, 2]).ravel()[:8]
  kind, bilinear = Image.Transform.PERSPECTIVE, Image.Resampling.BILINEAR
  size = width, height
  return np.asarray(
    Image.fromarray(pixels).transform(size, kind, coefficients, bilinear)
  )


def another_corner(share):
  return warps.symmetries()[6] @ warps.corner(share) @ warps.symmetries()[6].T


@pytest.mark.parametrize(
  ("make", "much"),
  [
    (warps.rotation, math.radians(-11)),
    (warps.tilt, 0.2),
    (warps.corner, 0.15),
    (warps.shear, math.radians(7)),
    (another_corner, 0.2),
  ],
)
def test_a_warp_is_pillows(make, much):
  pixels, matrix = image(), np.asarray(jax.jit(make)(much))
  warp = jax.jit(geometry.warp)
  got = np.asarray(warp(pixels.astype(np.float32), matrix))
  expected = pillow(pixels, matrix).astype(float)
  # Pillow makes pixels black within half a pixel of the border.
  seen = expected.sum(axis=-1) > 0
  assert seen.mean() > 0.85
  assert np.abs(got - expected)[seen].max() <= 1.01


def test_crop_of_whole_pixels():
  # The upper left quarter, enlarged twice: every other sample lies at 1/4 and
  # 3/4 between two pixels, as in any half-pixel bilinear enlargement.
  pixels = image().astype(np.float32)
  quarter = np.float32([0, 0, 0.5, 0.5])
  got = np.asarray(jax.jit(geometry.crop)(pixels, quarter))
  row = 0.25 * pixels[0] + 0.75 * pixels[1]
  assert_allclose(got[2, 2], 0.25 * row[0] + 0.75 * row[1], rtol=1e-4)


def shapes():
  """Masks [3 H W]: the two boxes, and a disc."""
  y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
  boxes = [
    (top * HEIGHT < y) & (y < bottom * HEIGHT) & (left * WIDTH < x)
    & (x < right * WIDTH)
    for top, left, bottom, right in BOXES
  ]  # fmt: skip
  return np.stack([*boxes, (y - 26) ** 2 + (x - 17) ** 2 < 121])


@functools.partial(jax.jit, static_argnums=0)
def moved(functions, values):
  """Moves; pixels, masks and boxes of the shapes, moved alike."""

  def one(values):
    steps = [transforms.Augmentation(None, *pair) for pair in functions]
    draw = transforms.Drawn(tuple(zip(steps, values, strict=True)))
    masks = jnp.asarray(shapes())
    places = geometry.nearest(draw.moves, HEIGHT, WIDTH)
    return (
      draw.moves,
      draw.pixels(255.0 * jnp.moveaxis(masks, 0, -1)),
      jax.vmap(lambda x: places.of(x, False))(masks),
      *geometry.boxes(draw.moves, jnp.asarray(BOXES)),
    )

  return jax.vmap(one)(values)


@functools.cache
def drawn(name):
  """`moved` by draws of some augmentations; all warps share a program."""

  def values(key):
    return tuple(value for _, value in transforms.draw(name, key).steps)

  keys = jax.random.split(jax.random.key(7), COUNT)
  steps = map(transforms.AUGMENTATIONS.__getitem__, name.split(","))
  functions = tuple((step.pixels, step.move) for step in steps)
  return jax.device_get(moved(functions, jax.jit(jax.vmap(values))(keys)))


@pytest.mark.parametrize("name", NAMES)
def test_a_shape_and_its_mask_stay_together(name):
  _, pixels, masks, _, _ = drawn(name)
  # A channel for each shape. Shapes stay above 130, and the rest below 57.
  seen = np.moveaxis(pixels > 127, -1, 1)
  both = (seen & masks).sum((2, 3))
  either = (seen | masks).sum((2, 3))
  # Slivers of the second at the border have no pixel of their own.
  assert masks[:, ::2].any((2, 3)).all()
  assert (both > 0.92 * either)[:, ::2].all()
  others = (masks != shapes()).any((1, 2, 3)).mean()
  assert others == 0 if name == "colour" else others > 0.3


@pytest.mark.parametrize("name", [n for n in NAMES if "distort,r" not in n])
def test_a_box_is_the_box_of_its_mask(name):
  """To a pixel; slivers of the box in the corner have none of their own."""
  _, _, masks, boxes, there = drawn(name)
  assert there[:, 0].all()
  for mask, box in zip(masks[:, 0], boxes[:, 0], strict=True):
    y, x = np.nonzero(mask)
    expected = [y.min(), x.min(), y.max() + 1, x.max() + 1]
    assert_allclose(SIDES * box, expected, atol=1)


def cut(polygon):
  """What lies inside the frame of a convex polygon (Sutherland, Hodgman)."""
  for normal in np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]):
    found, beyond = [], polygon @ normal - 1
    for i in range(len(polygon)):
      if beyond[i - 1] * beyond[i] < 0:
        share = beyond[i - 1] / (beyond[i - 1] - beyond[i])
        found.append(polygon[i - 1] + share * (polygon[i] - polygon[i - 1]))
      if beyond[i] <= 0:
        found.append(polygon[i])
    polygon = np.array(found).reshape(-1, 2)
  return polygon


def test_a_box_that_is_turned_after_a_mesh_holds_its_mask():
  """It may be larger: what a mesh makes of a box is in a box again."""
  _, _, masks, boxes, _ = drawn("crop,distort,rotate")
  for mask, box in zip(masks[:, 0], boxes[:, 0], strict=True):
    y, x = np.nonzero(mask)
    top, left, bottom, right = SIDES * box
    assert top - 1 <= y.min()
    assert left - 1 <= x.min()
    assert y.max() + 1 <= bottom + 1
    assert x.max() + 1 <= right + 1
    assert (bottom - top) * (right - left) < 2.2 * mask.sum()


@pytest.mark.parametrize(
  "name", [n for n in NAMES if "bend" not in n and "distort" not in n]
)
def test_a_box_is_around_what_is_seen_of_it(name):
  moves, _, _, boxes, there = drawn(name)
  eyes = [np.broadcast_to(np.eye(3), (COUNT, 3, 3))] * 2
  matrices = np.stack([*moves, *eyes], axis=1)
  for i in np.ndindex(there.shape):
    top, left, bottom, right = 2 * BOXES[i[1]].astype(float) - 1
    corners = [[left, right, right, left], [top, top, bottom, bottom], 4 * [1]]
    u, v, w = np.linalg.inv(np.linalg.multi_dot(matrices[i[0]])) @ corners
    polygon = (cut(np.stack([u / w, v / w], 1)) + 1) / 2
    assert there[i] == (len(polygon) > 2)
    if there[i]:
      expected = [*polygon.min(0)[::-1], *polygon.max(0)[::-1]]
      assert_allclose(boxes[i], expected, atol=1e-5)
    else:
      assert (boxes[i] == 0).all()


def test_boxes_leave_the_picture():
  """A crop cuts them off: exact where sides stay parallel to the frame."""
  zoom = np.asarray(jax.jit(warps.zoom)(np.full(4, 0.5, np.float32)))
  given = np.array(
    [[0.4, 0.6, 0.9, 0.7], [0.1, 0.1, 0.4, 0.5], [0.0, 0.0, 1.0, 1.0]],
    np.float32,
  )

  @jax.jit
  def seen(zoom, given):
    return geometry.boxes([zoom], given)

  boxes, there = jax.device_get(seen(zoom, given))
  assert there.tolist() == [True, False, True]
  expected = [[0, 0.2, 0.8, 0.4], [0, 0, 0, 0], [0, 0, 1, 1]]
  assert_allclose(boxes, expected, atol=1e-6)


def twin(plane, matrices, order, outside):
  """The same by SciPy, in float64."""
  height, width = plane.shape
  y, x = np.mgrid[:height, :width] + 0.5
  points = np.stack([2 * x / width - 1, 2 * y / height - 1, np.ones_like(x)])
  inside = np.ones(plane.shape, bool)
  for matrix in reversed(matrices):
    points = np.einsum("ij,jhw->ihw", np.asarray(matrix, float), points)
    points /= points[2]
    inside &= (np.abs(points[:2]) <= 1).all(0)
  at = ((points[:2] + 1) * np.array([width, height])[:, None, None] - 1) / 2
  found = ndimage.map_coordinates(plane, at[::-1], order=order, mode="nearest")
  return found if outside is None else np.where(inside, found, outside)


# Turned and shrunk: it looks beyond the border.
FAR = np.array(
  [[1.51, 0.33, 0.071], [-0.27, 1.43, 0.052], [0.11, 0.063, 1]], np.float32
)
NEAR = np.array([[0.63, 0, 0.211], [0, 0.71, -0.173], [0, 0, 1]], np.float32)


def test_bilinear_and_nearest_are_scipys():
  plane = np.random.default_rng(0).uniform(0, 255, (HEIGHT, WIDTH))
  plane = plane.astype(np.float32)
  warp = jax.jit(geometry.warp)
  for matrix in (FAR, NEAR):
    got = np.asarray(warp(plane[..., None], matrix))[..., 0]
    expected = twin(plane, [matrix], 1, None)
    assert_allclose(got, expected, atol=0.02)

  @jax.jit
  def nearest(first, then):
    places = geometry.nearest([first, then], HEIGHT, WIDTH)
    return places.of(jnp.asarray(plane), -1)

  for matrices in ([NEAR, FAR], [FAR, NEAR]):
    expected = twin(plane, matrices, 0, -1)
    assert 0.1 < (expected == -1).mean() < 0.7
    assert_array_equal(nearest(*matrices), expected)


def test_a_matrix_and_its_inverse_give_back_the_image():
  smooth = image(HEIGHT, WIDTH).astype(np.float32)
  matrix = np.asarray(jax.jit(warps.rotation)(np.float32(0.25)))
  back = np.linalg.inv(matrix).astype(np.float32)
  warp = jax.jit(geometry.warp)
  middle = np.s_[14:-14, 12:-12]
  turned = np.asarray(warp(smooth, matrix))
  got = np.asarray(warp(turned, back))[middle]
  # Two interpolations make waves a little flatter.
  assert np.abs(got - smooth[middle]).max() < 12
  assert np.abs(turned[middle] - smooth[middle]).max() > 60


def test_a_mesh_is_pillows():
  """Each tile of the result is a quadrilateral of the image, in Pillow."""
  pixels = image(60, 80)
  mesh = np.zeros((11, 11, 2), np.float32)
  most = 2 * 5 / 224
  mesh[1:-1, 1:-1] = np.random.default_rng(0).uniform(-most, most, (9, 9, 2))
  across, down = np.meshgrid(np.arange(11) * 8, np.arange(11) * 6)
  places = np.stack([across, down], -1) + mesh * np.array([80, 60]) / 2
  tiles = []
  for i, j in np.ndindex(10, 10):
    box = j * 8, i * 6, j * 8 + 8, i * 6 + 6
    corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
    tiles.append((box, [x for at in corners for x in places[at]]))
  expected = np.asarray(
    Image.fromarray(pixels).transform(
      (80, 60), Image.Transform.MESH, tiles, Image.Resampling.BILINEAR
    )
  ).astype(float)
  bent = geometry.Bent(np.eye(3, dtype=np.float32), mesh)
  got = np.asarray(jax.jit(geometry.warp)(pixels.astype(np.float32), bent))
  inner = np.s_[1:-1, 1:-1]
  # Pillow rounds to grey levels.
  assert np.abs(got - expected)[inner].max() <= 1.5
  assert np.abs(pixels - expected)[inner].max() > 30


def test_the_affine_warp_is_torchvisions():
  """Its `_get_inverse_affine_matrix`, and black outside."""
  angle, lean = math.radians(-21), math.radians(13)
  cos, sin, m = math.cos(angle), math.sin(angle), math.tan(lean)
  forward = np.array(
    [[cos, -cos * m - sin, 0], [sin, cos - sin * m, 0], [0] * 3]
  )
  forward[2, 2] = 1
  matrix = jax.jit(warps.affine)(angle, lean)
  assert_allclose(matrix, np.linalg.inv(forward), atol=1e-6)
  pixels = image(30, 30)
  step = transforms.AUGMENTATIONS["affine"]
  got = np.asarray(jax.jit(step.pixels)(pixels.astype(np.float32), matrix))
  expected = pillow(pixels, matrix).astype(float)
  seen = expected.sum(axis=-1) > 0
  assert np.abs(got - expected)[seen].max() <= 1.01
  assert (got.sum(-1) == 0).sum() > 30
  black = ndimage.binary_erosion(~seen)
  assert (got[black] == 0).all()


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("warp", np.eye(3)),
    ("crop", [0, 0, 1, 1]),
    ("affine", np.eye(3)),
    ("bend", geometry.Bent(np.eye(3), np.zeros((11, 11, 2)))),
  ],
)
def test_identity_moves_nothing(name, value):
  step = transforms.AUGMENTATIONS[name]
  leaf = not isinstance(value, geometry.Bent)
  values = jax.tree.map(
    lambda x: np.repeat(np.float32([x]), COUNT, axis=0),
    np.float32(value) if leaf else value,
  )
  _, pixels, masks, boxes, there = jax.device_get(
    moved(((step.pixels, step.move),), (values,))
  )
  assert_array_equal(masks[0], shapes())
  assert_array_equal(pixels[0] > 127, np.moveaxis(shapes(), 0, -1))
  assert there.all()
  assert_allclose(boxes[0], BOXES, atol=1e-6)
