"""Weights of cubic interpolation against the kernel, written out."""

import numpy as np
import pytest

from protojax.layers.interpolation import cubic


def kernel(x):
  """Keys's cubic kernel with a = -0.75, in his own cases (1981, eq. 15)."""
  a, x = -0.75, abs(x)
  if x <= 1:
    return (a + 2) * x**3 - (a + 3) * x**2 + 1
  return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0


@pytest.mark.parametrize(
  ("cells", "points", "step"),
  [(7, 224, None), (37, 28, None), (37, 28, 37 / 28.1), (5, 9, 5 / 9.1)],
)
def test_each_weight_is_the_kernels(cells, points, step):
  found = cubic(cells, points, step)
  expected = np.zeros((points, cells))
  for i in range(points):
    centre = (i + 0.5) * (step or cells / points) - 0.5
    for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
      expected[i, min(max(j, 0), cells - 1)] += kernel(centre - j)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
