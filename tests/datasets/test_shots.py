"""The 22 copies of a shot, against OpenCV and by hand."""

import cv2
import numpy as np
import pytest

from protojax.datasets import shots
from protojax.datasets.collection import Entry, FileCollection


def picture(height=40, width=52):
  y, x = np.mgrid[:height, :width] / 8
  smooth = np.stack([np.sin(y + x), np.cos(2 * y - x), np.sin(x)], axis=-1)
  return (127 + 120 * smooth).astype(np.uint8)


def test_there_are_twenty_two_different_ones():
  image = picture()
  copies = [copy(image) for copy in shots.COPIES.values()]
  assert len(copies) == 22
  assert all(c.dtype == np.uint8 and c.flags.c_contiguous for c in copies)
  assert len({c.tobytes() for c in copies}) == 22
  np.testing.assert_array_equal(copies[0], image)


@pytest.mark.parametrize("angle", [11.25, -11.25, 33.75, -45.0, 45.0])
@pytest.mark.parametrize("shape", [(40, 52), (30, 30), (25, 60)])
def test_rotation(angle, shape):
  image = picture(*shape)
  height, width = shape
  # OpenCV counts from the centres of pixels.
  centre = ((width - 1) / 2, (height - 1) / 2)
  expected = cv2.warpAffine(
    image,
    cv2.getRotationMatrix2D(centre, angle, 1),
    (width, height),
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REFLECT_101,
  )
  found = shots.rotated(image, angle)
  assert found.shape == image.shape
  difference = np.abs(found.astype(int) - expected)
  assert difference.mean() < 2
  assert difference.max() < 24
  assert f"rotated{angle:+g}" in shots.COPIES


@pytest.mark.parametrize(
  ("down", "right"), [(0.1, 0.05), (-0.1, 0.1), (0.0, -0.2)]
)
def test_translation(down, right):
  image = picture(40, 60)
  matrix = np.array([[1, 0, right * 60], [0, 1, down * 40]])
  expected = cv2.warpAffine(
    image, matrix, (60, 40), borderMode=cv2.BORDER_REFLECT_101
  )
  np.testing.assert_array_equal(shots.moved(image, down, right), expected)


def test_flip_grey_and_right_angles():
  image = picture()
  made = {name: copy(image) for name, copy in shots.COPIES.items()}
  np.testing.assert_array_equal(made["mirrored"], cv2.flip(image, 1))
  np.testing.assert_array_equal(
    made["turned90"], cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)
  )
  np.testing.assert_array_equal(
    made["turned180"], cv2.rotate(image, cv2.ROTATE_180)
  )
  grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
  assert np.abs(made["grey"].astype(int) - grey[..., None]).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (3, 3)])
def test_tiny_images(shape):
  image = picture(*shape)
  for name, copy in shots.COPIES.items():
    turned = name in ("turned90", "turned270")
    assert copy(image).shape == (*(shape[::-1] if turned else shape), 3)


def test_copies_of_a_collection(make_folder):
  root = make_folder({"a.png": 1, "b.png": 2, "c.png": 3})
  entries = tuple(Entry(f"{n}.png", "x", "normal", "train") for n in "abc")
  files = FileCollection(root, entries, ("",) * 3)
  copies = shots.Copies(files, (2, 0))
  assert len(copies.entries) == 44
  for row, original in ((0, 2), (17, 2), (22, 0), (43, 0)):
    name = list(shots.COPIES)[row % 22]
    assert copies.entries[row].name == f"{entries[original].name}#{name}"
    expected = shots.COPIES[name](files.image(original))
    np.testing.assert_array_equal(copies.image(row), expected)
    assert copies.truth(row).shape == expected.shape[:2]
  assert copies.has_truth
  assert copies.title == root
