"""Deformable convolutions, and maps read between their cells."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose
import pytest
from scipy import ndimage

from protojax.layers import conv, deformable, sampling

_KEY = jax.random.key(0)
_CONVOLVE = jax.jit(conv.convolve)
_DEFORMED = jax.jit(deformable.deformed)


@pytest.fixture(scope="module")
def given():
  """A map, and a kernel."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 6, 7, 4)).astype(np.float32)
  return x, rng.normal(size=(3, 3, 4, 5)).astype(np.float32)


def test_without_offsets_it_is_a_plain_convolution(given):
  x, kernel = given
  zeros, half = np.zeros((2, 6, 7, 9, 2)), np.full((2, 6, 7, 9), 0.5)
  found = _DEFORMED(x, kernel, jnp.float32(zeros), jnp.float32(half))
  assert_allclose(found, _CONVOLVE(x, kernel) / 2, atol=1e-5)


def test_whole_offsets_move_the_map(given):
  x, kernel = given
  moves = np.broadcast_to(np.float32([1, -2]), (2, 6, 7, 9, 2))
  ones = np.ones((2, 6, 7, 9), np.float32)
  found = np.asarray(_DEFORMED(x, kernel, moves, ones))
  expected = np.asarray(_CONVOLVE(x, kernel))
  # Away from the border, where zeros are read in either way.
  assert_allclose(found[:, 1:4, 3:6], expected[:, 2:5, 1:4], atol=1e-5)


def test_each_tap_is_read_at_its_own_place(given):
  x, kernel = given
  rng = np.random.default_rng(1)
  moves = rng.normal(scale=1.5, size=(2, 6, 7, 9, 2)).astype(np.float32)
  weights = rng.uniform(size=(2, 6, 7, 9)).astype(np.float32)
  expected = np.zeros((2, 6, 7, 5))
  for b, y, z, n in np.ndindex(2, 6, 7, 9):
    at = np.array([y + n // 3 - 1, z + n % 3 - 1]) + moves[b, y, z, n]
    read = [
      ndimage.map_coordinates(
        np.pad(x[b, :, :, c], 3).astype(float), at[:, None] + 3, order=1
      )[0]
      for c in range(4)
    ]
    expected[b, y, z] += weights[b, y, z, n] * (read @ kernel[n // 3, n % 3])
  found = _DEFORMED(x, kernel, moves, weights)
  assert_allclose(found, expected, atol=1e-4)


def test_the_module_starts_at_half_a_plain_convolution(given):
  x, _ = given
  module = deformable.DeformableConv(5, jax.nn.initializers.he_normal())
  variables = jax.jit(module.init)(_KEY, x)
  assert variables["params"]["offsets"]["kernel"].shape == (3, 3, 4, 27)
  found = jax.jit(module.apply)(variables, x)
  kernel = variables["params"]["kernel"]
  assert_allclose(found, _CONVOLVE(x, kernel) / 2, atol=1e-5)


def test_places_are_read_as_scipy_reads_them():
  rng = np.random.default_rng(2)
  plane = rng.normal(size=(5, 8, 2)).astype(np.float32)
  places = rng.uniform(-2, 9, size=(200, 2)).astype(np.float32)
  found = jax.jit(sampling.sampled)(plane, places)
  for c in range(2):
    padded = np.pad(plane[..., c], 4).astype(float)
    expected = ndimage.map_coordinates(padded, places.T + 4, order=1)
    assert_allclose(found[:, c], expected, atol=1e-5)


def test_shares_are_what_masks_would_give():
  rng = np.random.default_rng(3)
  numbers = rng.integers(-1, 4, size=(6, 5)).astype(np.int32)
  places = rng.uniform(-1, 6, size=(100, 2)).astype(np.float32)
  wanted = np.arange(4, dtype=np.int32)
  found = jax.jit(sampling.shares)(numbers, places, wanted)
  masks = (numbers[..., None] == wanted).astype(np.float32)
  expected = jax.jit(sampling.sampled)(masks, places)
  assert_allclose(found, np.asarray(expected).T, atol=1e-6)
