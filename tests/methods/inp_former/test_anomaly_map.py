"""From tokens to pixels and a score, against SciPy, OpenCV and a sort."""

import cv2
import jax
import numpy as np
import pytest
from scipy import ndimage, spatial

from protojax.methods.inp_former import anomaly_map

GRID, IMAGE, MAP = (3, 4), 24, 16


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_distance_is_of_each_token_to_its_own():
  encoded, decoded = normal(2, 3, 5, 8), normal(2, 3, 5, 8, seed=1)
  result = jax.jit(anomaly_map.distance)(encoded, 7.0 * decoded)
  for place in np.ndindex(2, 3, 5):
    expected = spatial.distance.cosine(encoded[place], decoded[place])
    np.testing.assert_allclose(result[place], expected, atol=1e-6)


def test_what_is_rebuilt_is_at_distance_zero_and_its_reverse_at_two():
  encoded = normal(2, 3, 5, 8)
  same = np.asarray(anomaly_map.distance(encoded, encoded))
  reverse = np.asarray(anomaly_map.distance(encoded, -encoded))
  np.testing.assert_allclose(same, 0.0, atol=1e-6)
  np.testing.assert_allclose(reverse, 2.0, atol=1e-6)
  assert same.min() >= 0
  assert reverse.max() <= 2


def test_lengths_are_told_by_the_median_of_the_image():
  encoded = normal(2, 3, 5, 8)
  encoded[1, 2] = 0
  found = np.asarray(anomaly_map.relative_length(7.0 * encoded))
  for g, b in np.ndindex(2, 3):
    length = np.sqrt((np.float64(encoded[g, b]) ** 2).sum(axis=-1))
    middle = np.sort(length)[2]
    expected = length / middle if middle else np.ones(5)
    np.testing.assert_allclose(found[g, b], expected, rtol=1e-6)


def upsampled(grid):
  """Bilinear with aligned corners, as SciPy interpolates."""
  ends = [np.linspace(0, n - 1, IMAGE) for n in grid.shape]
  places = np.meshgrid(*ends, indexing="ij")
  return ndimage.map_coordinates(np.float64(grid), places, order=1)


def smoothed(image):
  """Gaussian of 5 by 5, sigma 4, zeros around, as one kernel."""
  offsets = np.arange(-2, 3)
  kernel = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / 32)
  return ndimage.correlate(image, kernel / kernel.sum(), mode="constant")


@pytest.mark.parametrize("size", [MAP, IMAGE, 40])
def test_pixels_are_those_of_three_steps(size):
  maps = normal(2, 3, *GRID)
  result = anomaly_map.at_pixels(maps, IMAGE, size)
  for image, grids in zip(result, maps.swapaxes(0, 1), strict=True):
    step = np.mean([upsampled(grid) for grid in grids], axis=0)
    # OpenCV's bilinear aligns the edges.
    step = cv2.resize(step, (size, size), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(image, smoothed(step), atol=1e-5)


def test_one_cell_fills_the_image_but_for_the_border():
  (image,) = anomaly_map.at_pixels(np.full((1, 1, 1, 1), 3.0), IMAGE, MAP)
  np.testing.assert_allclose(image[2:-2, 2:-2], 3.0, rtol=1e-6)
  assert image[0, 0] < image[0, 5] < 2.0


@pytest.mark.parametrize(
  ("share", "count"), [(0.01, 2), (0.5, 128), (1.0, 256), (1e-6, 1)]
)
def test_score_is_the_mean_of_the_highest_pixels(share, count):
  maps = normal(3, MAP, MAP)
  result = anomaly_map.image_score(maps, share)
  ordered = np.sort(np.float64(maps).reshape(3, -1), axis=1)
  expected = ordered[:, -count:].mean(axis=1)
  np.testing.assert_allclose(result, expected, atol=1e-6)
