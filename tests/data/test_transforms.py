"""Resizing against Pillow, augmentation against closed forms and SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from scipy import ndimage

from protojax.data import transforms
from protojax.types import UserError

KEYS = jax.random.split(jax.random.key(0), 200)


@pytest.fixture
def image():
  return (
    np.random.default_rng(0).uniform(0, 255, (12, 16, 3)).astype(np.float32)
  )


@functools.cache
def compiled(name):
  return jax.jit(
    jax.vmap(lambda x, k: transforms.augment(name, x, k), in_axes=(None, 0))
  )


def augmented(name, image, keys):
  return np.asarray(compiled(name)(jnp.asarray(image), keys))


def test_resize_is_pillows(image):
  image = image.astype(np.uint8)
  expected = Image.fromarray(image).resize((8, 8), Image.Resampling.BILINEAR)
  np.testing.assert_array_equal(transforms.resize(image, 8), expected)
  square = image[:, :12]
  np.testing.assert_array_equal(transforms.resize(square, 12), square)


@pytest.mark.parametrize("name", transforms.AUGMENTATIONS)
def test_same_key_same_image_and_values_in_range(name, image):
  first = augmented(name, image, KEYS)
  np.testing.assert_array_equal(first, augmented(name, image, KEYS))
  assert first.dtype == np.float32
  assert first.min() >= 0
  assert first.max() <= 255.001
  distinct = len(np.unique(first.reshape(len(KEYS), -1), axis=0))
  assert distinct == {"": 1, "flip": 2}.get(name, len(KEYS))
  # Varied around the image, not away from it.
  assert abs(first.mean() - image.mean()) < 10


@pytest.mark.parametrize("name", ["flip", "crop_flip", "affine"])
def test_a_constant_image_stays(name):
  image = np.full((12, 16, 3), 77.0, np.float32)
  np.testing.assert_allclose(augmented(name, image, KEYS), 77, rtol=1e-5)


def test_flip_is_exact_and_even(image):
  got = augmented("flip", image, KEYS)
  flipped = np.array([np.array_equal(g, image[:, ::-1]) for g in got])
  kept = np.array([np.array_equal(g, image) for g in got])
  assert (flipped ^ kept).all()
  assert 0.35 < flipped.mean() < 0.65


def test_identity_parameters_leave_the_image(image):
  same = transforms.warp(jnp.asarray(image), jnp.eye(3))
  np.testing.assert_allclose(same, image, atol=1e-3)
  same = transforms.crop(jnp.asarray(image), jnp.array([0.0, 0, 1, 1]))
  np.testing.assert_allclose(same, image, atol=1e-3)


def test_crop_of_whole_pixels(image):
  # The upper left quarter, enlarged twice: every other sample lies at 1/4 and
  # 3/4 between two pixels, as in any half-pixel bilinear enlargement.
  got = transforms.crop(jnp.asarray(image), jnp.array([0.0, 0, 0.5, 0.5]))
  row = 0.25 * image[0] + 0.75 * image[1]
  np.testing.assert_allclose(
    got[2, 2], 0.25 * row[0] + 0.75 * row[1], rtol=1e-4
  )


@pytest.mark.parametrize(
  "matrix", [transforms._rotation, transforms._tilt, transforms._shear]
)
@pytest.mark.parametrize("amount", [-1.0, -0.3, 0.0, 0.7, 1.0])
def test_warp_equals_scipy_and_shows_no_border(image, matrix, amount):
  m = np.asarray(matrix(jnp.asarray(amount)), np.float64)
  height, width, _ = image.shape
  y, x = np.meshgrid(
    (2 * np.arange(height) + 1) / height - 1,
    (2 * np.arange(width) + 1) / width - 1,
    indexing="ij",
  )
  u, v, w = np.einsum("ij,jhw->ihw", m, np.stack([x, y, np.ones_like(x)]))
  at = [((v / w + 1) * height - 1) / 2, ((u / w + 1) * width - 1) / 2]
  expected = np.stack(
    [
      ndimage.map_coordinates(image[..., c], at, order=1, mode="nearest")
      for c in range(3)
    ],
    axis=-1,
  )
  got = jax.jit(transforms.warp)(
    jnp.asarray(image), jnp.asarray(m, jnp.float32)
  )
  np.testing.assert_allclose(got, expected, atol=0.02)
  corners = m @ np.array([[1, 1, -1, -1], [1, -1, 1, -1], [1, 1, 1, 1]])
  assert np.abs(corners[:2] / corners[2]).max() <= 1 + 1e-6
  if not amount:
    np.testing.assert_allclose(m, np.eye(3), atol=1e-7)


def test_tilt_shortens_one_side_as_the_paper_does():
  m = np.asarray(transforms._tilt(jnp.asarray(1.0)))
  upper = m @ np.array([1, 1, 1])
  lower = m @ np.array([1, -1, 1])
  seen = (upper[1] / upper[2] - lower[1] / lower[2]) / 2
  np.testing.assert_allclose(seen, 1 / 1.4, rtol=1e-5)


def test_unknown_name_lists_the_known(image):
  with pytest.raises(UserError, match=r"no augmentation 'flop'.*'crop_flip'"):
    transforms.augment("flop", jnp.asarray(image), jax.random.key(0))
