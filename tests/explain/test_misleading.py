"""Pairs of crops that differ in one characteristic, compared and marked."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageEnhance
import pytest
from scipy import ndimage

from protojax.datasets import photos
from protojax.explain import crop_differences, misleading
from protojax.modify.modification import CHARACTERISTICS

SIDE = 64
# Colourful photographs: in a grey one no hue can differ.
NAMES = ("astronaut", "chelsea", "coffee", "flower", "immunohistochemistry")


def _less_contrast(crop):
  """Moves the luma towards its mean and leaves the colours."""
  luma = crop @ np.array([0.299, 0.587, 0.114])
  moved = crop - 0.6 * (luma - luma.mean())[..., None]
  return np.clip(moved, 0, 255).round().astype(np.uint8)


def _less_saturation(crop):
  return np.asarray(ImageEnhance.Color(Image.fromarray(crop)).enhance(0.3))


def _other_hue(crop):
  hue, *others = Image.fromarray(crop).convert("HSV").split()
  turned = Image.fromarray(np.asarray(hue) + np.uint8(64))
  return np.asarray(Image.merge("HSV", (turned, *others)).convert("RGB"))


def _other_shape(crop):
  """A smooth sine warp, which makes no jagged edges."""
  y, x = np.mgrid[:SIDE, :SIDE].astype(float)
  wave = 8 * np.sin(2 * np.pi * np.arange(SIDE) / 40)
  where = (y - wave[None], x - wave[:, None])
  planes = [
    ndimage.map_coordinates(p, where, float, order=1, mode="nearest")
    for p in np.moveaxis(crop, -1, 0)
  ]
  return np.stack(planes, axis=-1).round().astype(np.uint8)


def _other_texture(crop):
  return ndimage.gaussian_filter(crop, (1.5, 1.5, 0))


CHANGES = dict(
  zip(
    CHARACTERISTICS,
    (
      _less_contrast,
      _less_saturation,
      _other_hue,
      _other_shape,
      _other_texture,
    ),
    strict=True,
  )
)


@pytest.fixture(scope="module")
def crops():
  found = []
  for name in NAMES:
    image = photos.photograph(name)
    for x, y, _, _ in photos.boxes(name, image, "train")[:6]:
      found.append(image[y : y + SIDE, x : x + SIDE])
  return found


@pytest.fixture(scope="module")
def compared(crops):
  """All crops and their changed copies; the model's first reason is hue."""
  changed = [CHANGES[name](crop) for name in CHARACTERISTICS for crop in crops]
  reasons = np.tile([0.1, -1.0, 0.8, 0.1, 0.0], (len(changed), 1))
  return misleading.compare(5 * crops, changed, reasons)


def test_the_one_thing_changed_differs_most(compared, crops):
  first = compared.unlike.argmax(axis=1).reshape(5, len(crops))
  for i, name in enumerate(CHARACTERISTICS):
    assert np.mean(first[i] == i) >= 0.85, name
  # And each characteristic differs most where it was changed.
  means = compared.unlike.reshape(5, len(crops), 5).mean(axis=1)
  assert_array_equal(means.argmax(axis=0), range(5))


def test_alike_because_of_what_differs_is_misleading(compared, crops):
  flags = compared.misleading.reshape(5, len(crops))
  hue = CHARACTERISTICS.index("hue")
  assert flags[hue].mean() > 0.5
  assert not np.delete(flags, hue, axis=0).any()
  assert np.all(compared.first == hue)


def test_a_pair_misleads_by_its_first_reason(compared):
  assert_array_equal(
    compared.misleading, compared.unlike[:, 2] > misleading.RANDOM
  )
  # One scale for each characteristic: d / u - d = r.
  for d, u in zip(compared.difference.T, compared.unlike.T, strict=True):
    scale = d[u > 0] / u[u > 0] - d[u > 0]
    assert_allclose(scale, scale[0], rtol=1e-6)


def test_the_scale_is_that_of_pairs_at_random(crops):
  described = crop_differences.describe(crops)
  everyone = [
    crop_differences.differences(
      described,
      crop_differences.Descriptors(*(np.roll(x, k, axis=0) for x in described)),
    )
    for k in range(1, len(crops))
  ]
  expected = np.mean(everyone, axis=(0, 1))
  found = misleading._at_random(described, described)
  assert_allclose(found, expected, rtol=0.4)


def test_equal_crops_never_mislead(crops):
  importance = np.random.default_rng(0).normal(size=(len(crops), 5))
  found = misleading.compare(crops, crops, importance)
  assert not found.unlike.any()
  assert not found.misleading.any()


def test_without_a_reason_no_pair_is_misleading(crops):
  importance = np.ones((4, 5))
  importance[1] = -1.0
  importance[2] = np.nan
  importance[3] = [np.nan, 0, 0, 2, 1]
  found = misleading.compare(crops[:4], crops[4:8], importance)
  assert_array_equal(found.first, [0, -1, -1, 3])
  assert not found.misleading[1:3].any()


def test_a_pair_alone_never_misleads(crops):
  found = misleading.compare(crops[:1], crops[-1:], np.ones((1, 5)))
  assert np.all(found.unlike <= 0.5)
  assert_allclose(found.unlike[0, CHARACTERISTICS.index("shape")], 0.5)
  assert not found.misleading.any()


def test_grey_crops_have_no_hue_to_differ_in():
  image = photos.photograph("brick")
  crops = [image[i : i + 40, i : i + 30] for i in range(0, 160, 20)]
  found = misleading.compare(crops, crops[::-1], np.eye(5)[[2] * len(crops)])
  assert_allclose(found.unlike[:, 1:3], 0, atol=1e-9)
  assert not found.misleading.any()
