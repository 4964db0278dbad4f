"""The flags of `setup` change how fast programs are, and not their results."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# A batch of products whose right side is one matrix for all, in each position:
# with LIBRARY_FUSION_TYPE_DOT the first gives one column for all.
_PRODUCTS = """
import numpy as np
from protojax import parallel
parallel.setup()
import jax
import jax.numpy as jnp
rng = np.random.default_rng(0)
x, e = rng.normal(size=(2, 25, 16)), rng.normal(size=(10, 16))
y, w = rng.normal(size=(25, 16)), rng.normal(size=(2, 10, 16))
for name, a, b, shape in (
  ("ljd,lkd->ljk", x, e, (2, 10, 16)),
  ("ljd,ldk->ljk", x, e.T, (2, 16, 10)),
  ("lkd,ljd->ljk", w, y, (2, 25, 16)),
):
  def product(a, b):
    return jnp.einsum(name, a, jnp.broadcast_to(b, shape))
  found = jax.jit(product)(np.float32(a), np.float32(b))
  expected = np.einsum(name, a, np.broadcast_to(b, shape))
  np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)
"""


def test_products_with_a_broadcast_side_are_right():
  environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  done = subprocess.run(
    [sys.executable, "-c", _PRODUCTS],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
