"""The sine warp and the bars against loops of rolls."""

import jax
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from protojax.modify import warp
from tests.modify import plain_script as script

sine = jax.jit(warp.sine, static_argnums=(1, 2))
bars = jax.jit(warp.bars, static_argnums=(1, 2, 3))

SIZES = [(37, 53), (53, 37), (1, 1), (3, 90), (90, 2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("amplitude", "frequency"), [(4.0, 0.05), (7.5, 0.13)])
def test_sine_equals_two_passes_of_rolls(size, amplitude, frequency):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (*size, 3), np.uint8)
  expected = script.waves(image, amplitude, frequency)
  warped = sine(image[None], amplitude, frequency)[0]
  assert_array_equal(warped, expected)


def test_sine_moves_pixels_and_loses_none():
  places = np.arange(37 * 53).reshape(1, 37, 53)
  image = np.stack([places % 256, places // 256, 0 * places], -1)
  image = image.astype(np.uint8)
  warped = np.asarray(sine(image, 4.0, 0.05)).astype(int)
  assert_array_equal(
    np.sort((warped[..., 0] + 256 * warped[..., 1]).ravel()), places.ravel()
  )


def test_sine_table_of_the_reference():
  rise = [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 4, 3, 3, 3, 3, 2, 2, 1, 1, 0]
  # One column: rows shift around in nothing, the column by s(0) = 0.
  row = np.arange(80, dtype=np.uint8)
  image = np.repeat(np.repeat(row[None, None, :, None], 41, 1), 3, -1)
  warped = np.asarray(sine(image, 4.0, 0.05))[0, :, 0, 0]
  moved = (0 - warped.astype(int)) % 80
  assert_array_equal(moved[:40], (rise + [-s for s in rise]) % np.array(80))


def rolled_bars(image, distance, count, seed):
  """The same draws, one band of rows after the other."""
  draw = np.random.default_rng(seed)
  moves = draw.integers((distance + 1) // 2, distance + 1, count)
  shares = draw.integers(0, 2**16, count)
  height, expected = len(image) // count, image.copy()
  for i in range(count):
    least = (height + 1) // 2
    rows = least + int((height - least + 1) * shares[i]) // 2**16
    assert least <= rows <= max(height, least)
    band = slice(i * height, i * height + rows)
    move = moves[i] if i % 2 == 0 else -moves[i]
    expected[band] = np.roll(image[band], move, axis=1)
  return expected


@pytest.mark.parametrize("size", [(53, 37), (131, 29), (7, 13), (1, 1)])
def test_bars_equal_a_loop_of_rolls(size):
  image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
  for seed in (0, 1):
    expected = rolled_bars(image, 10, 25, seed)
    assert_array_equal(bars(image[None], 10, 25, seed)[0], expected)
    assert (expected != image).any() == (size[0] >= 25)


def test_bars_that_do_not_move():
  image = np.random.default_rng(0).integers(0, 256, (1, 53, 37, 3), np.uint8)
  assert_array_equal(bars(image, 0, 25, 0), image)


def test_padding_stays_padding():
  sizes = np.array([(53, 37), (29, 60), (1, 1), (60, 64)])
  padded = np.random.default_rng(1).integers(0, 256, (4, 60, 64, 3), np.uint8)
  waves = sine(padded, 4.0, 0.05, sizes)
  banded = bars(padded, 10, 25, 0, sizes)
  for i, (height, width) in enumerate(sizes):
    image = padded[i, :height, :width]
    expected = padded[i].copy()
    expected[:height, :width] = script.waves(image, 4.0, 0.05)
    assert_array_equal(waves[i], expected)
    expected[:height, :width] = rolled_bars(image, 10, 25, 0)
    assert_array_equal(banded[i], expected)
