"""The list of modifications, their dispatch, and the warp."""

import dataclasses

import jax
import numpy as np
from numpy.testing import assert_array_equal
import pytest
from skimage import data

from protojax.explain import perturb
from protojax.types import UserError

IMAGES = np.stack([data.chelsea()[100:137, 120:173], data.coffee()[:37, :53]])


def test_order_of_the_axis_m():
  assert perturb.MODIFICATIONS == (
    "identity",
    "contrast",
    "saturation",
    "hue",
    "shape",
    "texture",
    "brightness",
  )
  assert perturb.MODIFICATIONS[1:6] == perturb.CHARACTERISTICS


@pytest.mark.parametrize("name", perturb.MODIFICATIONS)
def test_every_modification_is_bytes_to_bytes_of_one_image(name):
  together = perturb.modify(IMAGES, name)
  assert together.shape == IMAGES.shape
  assert together.dtype == np.uint8
  assert (np.asarray(together) != IMAGES).any() == (name != "identity")
  each = jax.vmap(lambda image: perturb.modify(image[None], name)[0])(IMAGES)
  assert_array_equal(each, together)


@pytest.mark.parametrize("name", perturb.MODIFICATIONS)
def test_strengths_that_change_nothing(name):
  still = perturb.Strengths(
    contrast=1.0,
    saturation=1.0,
    hue=0.0,
    shape=0.0,
    texture=0.0,
    brightness=1.0,
  )
  assert_array_equal(perturb.modify(IMAGES, name, still), IMAGES)


def test_reference_strengths():
  assert dataclasses.asdict(perturb.REFERENCE) == {
    "contrast": 0.45,
    "saturation": 0.7,
    "hue": 0.1,
    "shape": 4.0,
    "shape_frequency": 0.05,
    "texture": 4.0,
    "brightness": 0.8,
  }


def test_unknown_name_lists_the_known():
  with pytest.raises(UserError, match=r"'sharpness'; use .*identity, contr"):
    perturb.modify(IMAGES, "sharpness")


@pytest.mark.parametrize(
  "wrong", [{"hue": 0.6}, {"contrast": -0.1}, {"texture": float("nan")}]
)
def test_strength_out_of_range(wrong):
  with pytest.raises(UserError, match=f"{next(iter(wrong))}=.*out of range"):
    perturb.Strengths(**wrong)


@pytest.mark.parametrize("size", [(37, 53), (53, 37), (1, 1), (3, 90), (90, 2)])
@pytest.mark.parametrize(("amplitude", "frequency"), [(4.0, 0.05), (7.5, 0.13)])
def test_warp_equals_two_passes_of_rolls(size, amplitude, frequency):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (*size, 3), np.uint8)
  expected = image.copy()
  for y in range(size[0]):
    shift = int(amplitude * np.sin(np.pi * y * frequency))
    expected[y] = np.roll(expected[y], shift, axis=0)
  for x in range(size[1]):
    shift = int(amplitude * np.sin(np.pi * x * frequency))
    expected[:, x] = np.roll(expected[:, x], shift, axis=0)
  warped = perturb.warp(image[None], amplitude, frequency)[0]
  assert_array_equal(warped, expected)


def test_warp_moves_pixels_and_loses_none():
  places = np.arange(37 * 53).reshape(1, 37, 53)
  image = np.stack([places % 256, places // 256, 0 * places], -1)
  image = image.astype(np.uint8)
  warped = np.asarray(perturb.warp(image, 4.0, 0.05)).astype(int)
  assert_array_equal(
    np.sort((warped[..., 0] + 256 * warped[..., 1]).ravel()), places.ravel()
  )


def test_warp_table_of_the_reference():
  rise = [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 4, 3, 3, 3, 3, 2, 2, 1, 1, 0]
  # One column: rows shift around in nothing, the column by s(0) = 0.
  row = np.arange(80, dtype=np.uint8)
  image = np.repeat(np.repeat(row[None, None, :, None], 41, 1), 3, -1)
  warped = np.asarray(perturb.warp(image, 4.0, 0.05))[0, :, 0, 0]
  moved = (0 - warped.astype(int)) % 80
  assert_array_equal(moved[:40], (rise + [-s for s in rise]) % np.array(80))
