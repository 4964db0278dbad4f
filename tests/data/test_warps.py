"""Matrices of warps against corners computed by hand."""

import math

import jax
import numpy as np
import pytest

from protojax.data import warps

CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
ANGLES = [-15, -4, 0, 8, 15]

# Compiled, as wholes.
rotation, tilt, corner, shear, zoom = map(
  jax.jit, (warps.rotation, warps.tilt, warps.corner, warps.shear, warps.zoom)
)


def moved(matrix, places):
  """Points [n, 2] moved by a matrix."""
  u, v, w = np.asarray(matrix, float) @ np.vstack([places.T, np.ones(4)])
  return np.stack([u / w, v / w], axis=1)


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
  got = moved(rotation(np.float32(a)), CORNERS)
  np.testing.assert_allclose(got, expected, atol=1e-6)
  assert np.abs(got).max() <= 1 + 1e-6


@pytest.mark.parametrize("share", [0.0, 0.07, 0.2])
def test_tilt_pulls_both_ends_of_a_side(share):
  """A point beyond the frame, by a share of it, becomes a corner."""
  pulled = CORNERS + 2 * share * np.array([[0, 0], [0, -1], [0, 1], [0, 0]])
  got = moved(tilt(np.float32(share)), pulled)
  np.testing.assert_allclose(got, CORNERS, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.07, 0.2])
def test_corner_pulls_one(share):
  pulled = CORNERS + 2 * share * np.array([[-1, 0], [0, 0], [0, 0], [0, 0]])
  got = moved(corner(np.float32(share)), pulled)
  np.testing.assert_allclose(got, CORNERS, atol=1e-6)


@pytest.mark.parametrize("degrees", ANGLES)
def test_shear_reaches_two_corners(degrees):
  m = 2 * math.tan(math.radians(degrees))
  # Rows end where the leaning sides are.
  move = [[0, 0], [-m, 0], [0, 0], [m, 0]]
  if degrees < 0:
    move = [[-m, 0], [0, 0], [m, 0], [0, 0]]
  got = moved(shear(np.float32(math.radians(degrees))), CORNERS)
  np.testing.assert_allclose(got, CORNERS + np.array(move), atol=1e-6)


def test_zoom_shows_a_box():
  box = 2 * np.array([[0.2, 0.1], [0.7, 0.1], [0.7, 0.9], [0.2, 0.9]]) - 1
  got = moved(zoom(np.float32([0.2, 0.1, 0.5, 0.8])), CORNERS)
  np.testing.assert_allclose(got, box, atol=1e-6)


def test_symmetries_are_the_eight_of_the_square():
  found = warps.symmetries()
  assert len({m.tobytes() for m in found}) == 8
  for m in found:
    np.testing.assert_array_equal(m @ m.T, np.eye(3))
    assert {tuple(p) for p in moved(m, CORNERS)} == {tuple(p) for p in CORNERS}
