"""The sine warp and the bars against loops of rolls."""

import numpy as np
from numpy.testing import assert_array_equal
import pytest

from protojax.explain import warp

SIZES = [(37, 53), (53, 37), (1, 1), (3, 90), (90, 2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("amplitude", "frequency"), [(4.0, 0.05), (7.5, 0.13)])
def test_sine_equals_two_passes_of_rolls(size, amplitude, frequency):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (*size, 3), np.uint8)
  expected = image.copy()
  for y in range(size[0]):
    shift = int(amplitude * np.sin(np.pi * y * frequency))
    expected[y] = np.roll(expected[y], shift, axis=0)
  for x in range(size[1]):
    shift = int(amplitude * np.sin(np.pi * x * frequency))
    expected[:, x] = np.roll(expected[:, x], shift, axis=0)
  warped = warp.sine(image[None], amplitude, frequency)[0]
  assert_array_equal(warped, expected)


def test_sine_moves_pixels_and_loses_none():
  places = np.arange(37 * 53).reshape(1, 37, 53)
  image = np.stack([places % 256, places // 256, 0 * places], -1)
  image = image.astype(np.uint8)
  warped = np.asarray(warp.sine(image, 4.0, 0.05)).astype(int)
  assert_array_equal(
    np.sort((warped[..., 0] + 256 * warped[..., 1]).ravel()), places.ravel()
  )


def test_sine_table_of_the_reference():
  rise = [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 4, 3, 3, 3, 3, 2, 2, 1, 1, 0]
  # One column: rows shift around in nothing, the column by s(0) = 0.
  row = np.arange(80, dtype=np.uint8)
  image = np.repeat(np.repeat(row[None, None, :, None], 41, 1), 3, -1)
  warped = np.asarray(warp.sine(image, 4.0, 0.05))[0, :, 0, 0]
  moved = (0 - warped.astype(int)) % 80
  assert_array_equal(moved[:40], (rise + [-s for s in rise]) % np.array(80))
