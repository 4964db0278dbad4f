"""Pairs of crops that differ in one characteristic, compared and marked."""

import dataclasses

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageEnhance
import pytest
from scipy import ndimage

from protojax.datasets import photos
from protojax.explain import crop_differences, misleading
from protojax.explain.evidence import Standing
from protojax.modify.modification import CHARACTERISTICS
from tests.report import report_fakes

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


_HUE = CHARACTERISTICS.index("hue")


@pytest.fixture(scope="module")
def compared(crops):
  """All crops and their changed copies; the reason of each pair is hue.

  The pairs of one class are those of the crops with copies that are less
  colourful, so that they differ little in hue.
  """
  changed = [CHANGES[name](crop) for name in CHARACTERISTICS for crop in crops]
  same = np.repeat(
    [name == "saturation" for name in CHARACTERISTICS], len(crops)
  )
  reasons = np.full(len(changed), _HUE)
  return misleading.compare(5 * crops, changed, reasons, same), same


def test_each_characteristic_differs_most_where_it_was_changed(compared, crops):
  differences = compared[0].difference.reshape(5, len(crops), 5)
  assert_array_equal(differences.mean(axis=1).argmax(axis=0), range(5))


def test_planted_pairs_that_mislead_are_found(crops):
  """Alike because of what differs: precision and recall, as docs tell them.

  The pairs of one class are those that differ in anything but the reason.
  """
  changed = [CHANGES[name](crop) for name in CHARACTERISTICS for crop in crops]
  planted, marked = [], []
  for reason in range(5):
    others = np.repeat(np.arange(5) != reason, len(crops))
    reasons = np.full(len(changed), reason)
    found = misleading.compare(5 * crops, changed, reasons, others).misleading
    planted.append(found[~others].mean())
    marked.append(found.sum())
    assert found[others].mean() <= 0.05
  assert_allclose(planted, [1, 0.9, 1, 0.9, 0.8], atol=0.04)
  # Measured: 138 of 150, and 138 of 167.
  assert np.mean(planted) > 0.9
  assert sum(planted) * len(crops) / sum(marked) > 0.8


def test_of_the_pairs_of_one_class_one_in_twenty_is_above_the_limit(compared):
  found, same = compared
  expected = np.percentile(found.difference[same], 95, axis=0)
  assert_allclose(
    found.limit, np.maximum(expected, crop_differences.HARDLY_SEEN)
  )
  own = found.difference[:, _HUE] > found.limit[_HUE]
  assert_array_equal(found.misleading, own)
  assert found.misleading[same].mean() <= 0.05


def test_without_a_reason_no_pair_is_misleading(crops):
  changed = [CHANGES["hue"](crop) for crop in crops]
  none = np.full(len(crops), -1)
  found = misleading.compare(crops, changed, none, np.zeros(len(crops), bool))
  assert not found.misleading.any()


def test_equal_crops_never_mislead(crops):
  reasons = np.arange(len(crops)) % 5
  found = misleading.compare(crops, crops, reasons, reasons > 0)
  assert not found.misleading.any()


def test_grey_crops_have_no_hue_to_differ_in():
  image = photos.photograph("brick")
  crops = [image[i : i + 40, i : i + 30] for i in range(0, 160, 20)]
  none = np.zeros(len(crops), bool)
  found = misleading.compare(
    crops, crops[::-1], np.full(len(crops), _HUE), none
  )
  assert_allclose(found.difference[:, 1:3], 0, atol=1e-9)
  assert not found.misleading.any()


def test_a_report_marks_what_stands_out(crops):
  """Of the pairs of a prototype, the one of another hue."""
  rng = np.random.default_rng(0)
  prototypes, images, _ = report_fakes.run(classes=5, each=6)
  marked = []
  for e, crop in zip(prototypes, crops, strict=True):
    near = [
      dataclasses.replace(
        n, crop=CHANGES["hue"](crop) if k == 2 else crop, because={"hue": 1.0}
      )
      for k, n in enumerate(e.nearest["test"])
    ]
    marked.append(
      dataclasses.replace(
        e,
        patch=dataclasses.replace(e.patch, crop=crop),
        nearest={"test": tuple(near)},
        standings={"hue": Standing(99.0, 90.0, 100.0)},
        stands_out="hue" if rng.random() < 0.5 else "",
        speaks_for=e.group,
      )
    )
  found, rows = misleading.mark(marked, images)
  assert all(r.misleading is None for e in rows for r in e.evidence)
  for e in found:
    flags = [n.misleading for n in e.nearest["test"]]
    assert flags[:2] == [False, False]
    assert e.stands_out or not flags[2]
  told = [e.nearest["test"][2].misleading for e in found if e.stands_out]
  assert np.mean(told) > 0.9
  # Without standings nothing is known.
  bare = [dataclasses.replace(e, standings={}, stands_out="") for e in marked]
  assert misleading.mark(bare, images) == (tuple(bare), tuple(images))
