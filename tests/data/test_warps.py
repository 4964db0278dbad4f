"""Warps against Pillow; their matrices against corners computed by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from protojax.data import warps

CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
ANGLES = [-15, -4, 0, 8, 15]


def moved(matrix, places):
  """Points [n, 2] moved by a matrix."""
  u, v, w = np.asarray(matrix, float) @ np.vstack([places.T, np.ones(4)])
  return np.stack([u / w, v / w], axis=1)


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
  pixels, matrix = image(), jax.jit(make)(much)
  got = jax.jit(warps.warp)(
    jnp.asarray(pixels, jnp.float32), jnp.asarray(matrix, jnp.float32)
  )
  expected = pillow(pixels, matrix).astype(float)
  # Pillow makes pixels black within half a pixel of the border.
  seen = expected.sum(axis=-1) > 0
  assert seen.mean() > 0.85
  assert np.abs(got - expected)[seen].max() <= 1.01


def test_identity_leaves_the_image():
  pixels = jnp.asarray(image(), jnp.float32)
  same = jax.jit(warps.warp)(pixels, jnp.eye(3))
  np.testing.assert_allclose(same, pixels, atol=1e-3)
  whole = jnp.array([0.0, 0, 1, 1])
  np.testing.assert_allclose(warps.crop(pixels, whole), pixels, atol=1e-3)


def test_crop_of_whole_pixels():
  # The upper left quarter, enlarged twice: every other sample lies at 1/4 and
  # 3/4 between two pixels, as in any half-pixel bilinear enlargement.
  pixels = image().astype(np.float32)
  got = warps.crop(jnp.asarray(pixels), jnp.array([0.0, 0, 0.5, 0.5]))
  row = 0.25 * pixels[0] + 0.75 * pixels[1]
  np.testing.assert_allclose(
    got[2, 2], 0.25 * row[0] + 0.75 * row[1], rtol=1e-4
  )


@pytest.mark.parametrize("degrees", ANGLES)
def test_rotation_shows_the_crop_of_augmentor(degrees):
  """The box that `RotateRange` crops of a turned unit square, turned back."""
  a = math.radians(abs(degrees))
  canvas = math.cos(a) + math.sin(a)
  left = math.tan(a) * (canvas - canvas * math.tan(a))
  top = math.tan(a) * (canvas - left)
  half = np.array([canvas / 2 - left, canvas / 2 - top])
  a = math.radians(degrees)
  back = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
  expected = 2 * (CORNERS * half) @ back.T
  got = moved(warps.rotation(jnp.float32(a)), CORNERS)
  np.testing.assert_allclose(got, expected, atol=1e-6)
  assert np.abs(got).max() <= 1 + 1e-6


@pytest.mark.parametrize("share", [0.0, 0.07, 0.2])
def test_tilt_pulls_both_ends_of_a_side(share):
  """A point beyond the frame, by a share of it, becomes a corner."""
  pulled = CORNERS + 2 * share * np.array([[0, 0], [0, -1], [0, 1], [0, 0]])
  got = moved(warps.tilt(jnp.float32(share)), pulled)
  np.testing.assert_allclose(got, CORNERS, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.07, 0.2])
def test_corner_pulls_one(share):
  pulled = CORNERS + 2 * share * np.array([[-1, 0], [0, 0], [0, 0], [0, 0]])
  got = moved(warps.corner(jnp.float32(share)), pulled)
  np.testing.assert_allclose(got, CORNERS, atol=1e-6)


@pytest.mark.parametrize("degrees", ANGLES)
def test_shear_reaches_two_corners(degrees):
  m = 2 * math.tan(math.radians(degrees))
  # Rows end where the leaning sides are.
  move = [[0, 0], [-m, 0], [0, 0], [m, 0]]
  if degrees < 0:
    move = [[-m, 0], [0, 0], [m, 0], [0, 0]]
  got = moved(warps.shear(jnp.float32(math.radians(degrees))), CORNERS)
  np.testing.assert_allclose(got, CORNERS + np.array(move), atol=1e-6)


def test_symmetries_are_the_eight_of_the_square():
  found = warps.symmetries()
  assert len({m.tobytes() for m in found}) == 8
  for m in found:
    np.testing.assert_array_equal(m @ m.T, np.eye(3))
    assert {tuple(p) for p in moved(m, CORNERS)} == {tuple(p) for p in CORNERS}
