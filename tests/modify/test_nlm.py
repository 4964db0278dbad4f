"""Non-local means against OpenCV, and its own invariants."""

import cv2
import jax
import numpy as np
from numpy.testing import assert_array_equal
import pytest
from skimage import data

from protojax.modify import nlm
from tests.modify import plain_script as script

PHOTOS = {
  "eye": data.chelsea()[100:161, 120:167],
  "tissue": data.immunohistochemistry()[20:116, 30:126],
  "grey stones": np.repeat(data.gravel()[:40, :33, None], 3, axis=-1),
  "small": data.coffee()[50:57, 60:73],
  "row": data.astronaut()[100:101, 60:90],
  "pixel": data.astronaut()[100:101, 60:61],
}

smooth = jax.jit(nlm.smooth, static_argnums=1)
denoise = jax.jit(nlm.non_local_means, static_argnums=1)


def opencv(image, strength):
  return script.denoised(image, strength, 7, 21)


@pytest.mark.parametrize("name", PHOTOS)
def test_equals_opencv(name):
  image = PHOTOS[name]
  assert_array_equal(smooth(image[None], 4.0)[0], opencv(image, 4.0))


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_equals_opencv_at_other_strengths(strength):
  # 10 is beyond what 16-bit sums can hold.
  image = PHOTOS["eye"]
  assert_array_equal(smooth(image[None], strength)[0], opencv(image, strength))


def test_padded_images_with_the_windows_of_the_first_version():
  photos = [PHOTOS[name] for name in PHOTOS if name != "tissue"]
  sizes = np.array([photo.shape[:2] for photo in photos])
  padded = np.random.default_rng(1).integers(
    0, 256, (len(sizes), 64, 56, 3), np.uint8
  )
  for image, photo in zip(padded, photos, strict=True):
    image[: photo.shape[0], : photo.shape[1]] = photo
  got = jax.jit(nlm.smooth, static_argnums=(1, 2, 3))(
    padded, 10.0, 11, 21, sizes
  )
  for one, photo in zip(got, photos, strict=True):
    height, width, _ = photo.shape
    expected = script.denoised(photo, 10, 11, 21)
    assert_array_equal(one[:height, :width], expected)


@pytest.mark.parametrize(("template", "search"), [(1, 5), (3, 1), (31, 9)])
def test_windows_of_other_sizes(template, search):
  image = PHOTOS["small"]
  got = jax.jit(nlm.smooth, static_argnums=(1, 2, 3))(
    image[None], 6.0, template, search
  )
  assert_array_equal(got[0], script.denoised(image, 6, template, search))


@pytest.mark.parametrize("planes", [1, 2])
def test_planes_equal_opencv(planes):
  image = np.ascontiguousarray(PHOTOS["eye"][..., :planes])
  expected = cv2.fastNlMeansDenoising(image, None, 4, 7, 21)
  got = denoise(np.moveaxis(image, -1, 0)[None], 4.0)[0]
  assert_array_equal(
    np.moveaxis(np.asarray(got), 0, -1).squeeze(), expected.squeeze()
  )


def test_images_of_a_batch_do_not_meet():
  image = PHOTOS["eye"]
  batch = np.stack([image, image[::-1], 255 - image])
  together = smooth(batch, 4.0)
  for one, got in zip(batch, together, strict=True):
    assert_array_equal(smooth(one[None], 4.0)[0], got)


def test_removes_grain_and_keeps_an_edge():
  rng = np.random.default_rng(0)
  plane = np.where(np.arange(64)[None] < 32, 60, 180) + np.zeros((64, 1))
  noisy = np.rint(plane + rng.normal(0, 4, plane.shape)).astype(np.uint8)
  # A difference of two grains of 4 levels is 32 in mean square.
  clean = np.asarray(denoise(noisy[None, None], 8.0))[0, 0]
  assert np.abs(clean - plane).mean() < 0.4 * np.abs(noisy - plane).mean()
  assert clean[:, 31].max() < 80
  assert clean[:, 32].min() > 160


def test_a_flat_image_stays():
  planes = np.full((1, 2, 9, 11), 77, np.uint8)
  assert_array_equal(denoise(planes, 4.0), planes)


def test_no_strength_is_no_change():
  image = PHOTOS["small"][None]
  assert_array_equal(nlm.smooth(image, 0.0), image)
