"""Corruptions against scipy, Pillow and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from scipy import ndimage

from protojax.modify import corruptions


@pytest.fixture(scope="module")
def images():
  rng = np.random.default_rng(0)
  return rng.uniform(0, 255, (2, 12, 17, 3)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_blur_is_that_of_scipy(images, sigma):
  radius = int(4 * sigma + 0.5)
  found = corruptions.blurred(images, sigma, radius)
  expected = ndimage.gaussian_filter(images, (0, sigma, sigma, 0))
  np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("share", [0.75, 0.5])
def test_resizing_is_that_of_pillow(images, share):
  found = corruptions.resized(images, share)
  height, width = images.shape[1:3]
  small = round(share * width), round(share * height)
  for i, c in ((0, 0), (1, 2)):
    plane = Image.fromarray(images[i, ..., c])
    less = plane.resize(small, Image.Resampling.BILINEAR)
    back = less.resize((width, height), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found[i, ..., c], np.asarray(back), atol=1e-2)
  same = corruptions.resized(images, 1.0)
  np.testing.assert_allclose(same, images, atol=1e-3)


def test_noise_has_its_sigma_and_is_of_the_image():
  grey = jnp.full((2, 60, 60, 3), 128.0)
  keys = jax.random.split(jax.random.key(0), 2)
  found = corruptions.noised(grey, keys, 5.0)
  assert np.std(found - grey) == pytest.approx(5.0, rel=0.03)
  turned = corruptions.noised(grey, keys[::-1], 5.0)
  np.testing.assert_array_equal(found, turned[::-1])
  strong = np.asarray(corruptions.noised(grey, keys, 500.0))
  assert (strong.min(), strong.max()) == (0.0, 255.0)
