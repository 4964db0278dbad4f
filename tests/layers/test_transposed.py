"""The transposed convolution that doubles a map."""

import jax
import numpy as np
from numpy.testing import assert_allclose

from protojax.layers import transposed


def test_each_cell_adds_its_kernel_to_sixteen_places():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
  kernel = rng.normal(size=(4, 4, 4, 6)).astype(np.float32)
  expected = np.zeros((2, 2 * 3 + 2, 2 * 5 + 2, 6))
  for i, j, p, q in np.ndindex(3, 5, 4, 4):
    expected[:, 2 * i + p, 2 * j + q] += x[:, i, j] @ kernel[p, q]
  found = jax.jit(transposed.doubled)(x, kernel)
  assert_allclose(found, expected[:, 1:-1, 1:-1], atol=1e-4)


def test_it_starts_as_a_bilinear_doubling_of_each_channel():
  rng = np.random.default_rng(1)
  x = rng.normal(size=(1, 6, 6, 3)).astype(np.float32)
  module = transposed.Doubled(3)
  variables = jax.jit(module.init)(jax.random.key(0), x)
  found = jax.jit(module.apply)(variables, x)
  expected = jax.image.resize(x, (1, 12, 12, 3), "linear")
  # At the border, zeros are added where resizing repeats cells.
  assert_allclose(found[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-5)
