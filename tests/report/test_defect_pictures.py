"""Anomaly maps on one scale, regions, and outlines on the true border."""

import re

import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image, ImageColor
import pytest

from protojax.report import defect_pictures as pictures
from protojax.types import Box
from tests.report import inspection_fakes as fakes

GREY = np.full((32, 32, 3), 100, np.uint8)


def _flat(value):
  return np.full((8, 8), value, np.float32)


@pytest.mark.parametrize(
  ("value", "colour"),
  [(0.25, (128, 255, 127)), (0.5, (255, 0, 0)), (9.0, (255, 0, 0))],
)
def test_heat_is_on_the_scale_of_the_threshold(value, colour):
  found = pictures.heat(GREY, _flat(value), 0.25).astype(float)
  unmixed = (found - 0.4 * 100) / 0.6
  assert np.abs(unmixed - np.array(colour)[None, None]).max() < 4


def test_where_nothing_is_odd_the_image_shows():
  assert_array_equal(pictures.heat(GREY, _flat(0.0), 0.25), GREY)
  little = pictures.heat(GREY, _flat(0.05), 0.25).astype(int)
  assert np.abs(little - GREY).max() < 8


def test_a_map_of_another_size_lies_on_its_place():
  anomaly = _flat(0.0)
  anomaly[2, 5] = 1.0
  found = pictures.heat(GREY, anomaly, 0.25)
  row, column = np.argwhere(found[..., 0] > 180).mean(0)
  assert (row, column) == (2.5 * 4 - 0.5, 5.5 * 4 - 0.5)


def test_a_threshold_of_zero_leaves_the_map_its_own_scale():
  anomaly = np.linspace(-2, -1, 64, dtype=np.float32).reshape(8, 8)
  found = pictures.heat(GREY, anomaly, -1.5)
  assert_array_equal(found[0, 0], GREY[0, 0])
  assert found[-1, -1, 0] > 180 > 60 > found[-1, -1, 2]
  assert_array_equal(pictures.heat(GREY, _flat(0.0), 0.0), GREY)


def test_regions_have_the_colours_of_their_prototypes():
  assignment = np.array([[1, 2], [6, 9]], np.int32)
  found = pictures.regions(GREY, assignment).astype(float)
  for (row, column), number in np.ndenumerate(assignment):
    cell = found[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
    name = pictures.swatch(int(number)).partition(";")[0].split(":")[1]
    mixed = 0.45 * 100 + 0.55 * np.array(ImageColor.getrgb(name))
    assert np.abs(cell - mixed[None, None]).max() <= 0.5


def test_large_images_are_made_smaller_below_their_maps():
  large = np.full((400, 400, 3), 100, np.uint8)
  assert pictures.heat(large, _flat(0.0), 0.25).shape == (256, 256, 3)
  whole = np.ones((2, 2), np.int32)
  assert pictures.regions(large, whole).shape == (256, 256, 3)


def test_numbers_can_be_read_on_their_colours():
  def luminance(name):
    part = np.array(ImageColor.getrgb(name)) / 255
    part = np.where(part > 0.04, ((part + 0.055) / 1.055) ** 2.4, part / 12.92)
    return part @ np.array([0.2126, 0.7152, 0.0722])

  for number in range(1, len(pictures.PALETTE) + 1):
    names = re.findall(r"#\w+", pictures.swatch(number))
    low, high = sorted(map(luminance, names))
    assert (high + 0.05) / (low + 0.05) > 4.5


def test_an_outline_parts_the_truth_from_the_rest():
  rng = np.random.default_rng(0)
  noise = np.asarray(
    Image.fromarray(rng.normal(size=(8, 8)).astype(np.float32)).resize((40, 30))
  )
  for truth in (noise > 0.3, noise > -9, np.eye(5, dtype=bool)):
    edges = set()
    path = pictures.outline(truth)
    for x, y, kind, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", path):
      x, y = int(x), int(y)
      steps = range(int(length))
      edges |= {
        (kind, x + s * (kind == "h"), y + s * (kind == "v")) for s in steps
      }
    padded = np.pad(truth, 1)
    expected = {
      ("h", x, y)
      for y, x in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]).tolist()
    } | {
      ("v", x, y)
      for y, x in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]).tolist()
    }
    assert edges == expected
  assert pictures.outline(np.zeros((4, 4), bool)) == ""


def test_numbers_stand_deep_inside_their_regions():
  assignment = np.ones((9, 9), np.int32)
  assignment[1:8, 1:8] = 4
  assignment[0, 0] = 2
  found = {number: (x, y) for number, x, y in pictures.middles(assignment)}
  assert set(found) == {1, 2, 4}
  assert found[4] == (0.5, 0.5)
  assert found[2] == (0.5 / 9, 0.5 / 9)
  for number, (x, y) in found.items():
    assert assignment[int(y * 9), int(x * 9)] == number


def test_patches_stand_side_by_side():
  picture = fakes.inspections(1)[0].picture
  boxes = [Box(0, 0, 8, 8), Box(30, 40, 38, 48), Box(56, 56, 64, 64)]
  found = pictures.strip(picture, boxes)
  assert found.shape == (48, 3 * 48 + 2 * 2, 3)
  for i, (top, left, bottom, right) in enumerate(boxes):
    piece = found[:, 50 * i : 50 * i + 48].astype(float)
    wanted = picture[top:bottom, left:right].astype(float)
    assert np.abs(piece.mean((0, 1)) - wanted.mean((0, 1))).max() < 5
