"""Fine grain, the same for every image."""

import numpy as np

from protojax.modify import grain, modification
from protojax.modify.modification import Modification


def test_grain_is_the_same_for_all_images_and_has_its_deviation():
  flat = np.full((2, 300, 300, 3), 128, np.uint8)
  flat[1] = 90
  found = np.asarray(grain.add(flat, 6.0)).astype(int) - flat
  np.testing.assert_array_equal(found[0], found[1])
  np.testing.assert_array_equal(found[..., :1].repeat(3, -1), found)
  assert abs(found[0].std() - 6) < 0.1
  assert abs(found[0].mean()) < 0.1
  # It repeats, so that its size does not matter.
  np.testing.assert_array_equal(found[0, :43], found[0, 257:])


def test_padding_moves_no_grain():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (1, 20, 33, 3), np.uint8)
  padded = np.zeros((1, 64, 64, 3), np.uint8)
  padded[:, :20, :33] = image
  one = Modification("grain", "grain", (3.0,))
  sizes = np.array([[20, 33]], np.int32)
  found = np.asarray(modification.modify(padded, one, sizes))[:, :20, :33]
  np.testing.assert_array_equal(found, modification.modify(image, one))


def test_black_and_white_stay_within_bytes():
  ends = np.zeros((1, 8, 8, 3), np.uint8)
  ends[:, 4:] = 255
  found = np.asarray(grain.add(ends, 50.0))
  assert found[:, :4].min() == 0
  assert found[:, 4:].max() == 255
