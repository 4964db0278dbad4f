"""The fused kernel: its twin in XLA, ties, and lowering for accelerators."""

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.prototypes import kernel, pooling, similarity


def arrays(cells=49, length=24, count=150, seed=0):
  rng = np.random.default_rng(seed)
  windows = rng.random((3, cells, length), np.float32)
  return windows, rng.random((count, length), np.float32)


@pytest.mark.parametrize("name", ["log", "cosine"])
@pytest.mark.parametrize("size", [(7, 7), (9, 8)])
def test_kernel_finds_the_cells_of_its_twin(name, size):
  windows, flat = arrays(size[0] * size[1])
  features, prototypes = windows.reshape(3, *size, 24), flat[:, None, None]
  metric = similarity.load(name)

  def total(features, prototypes, kernel):
    near = pooling.nearest(features, prototypes, metric, kernel=kernel)
    return jnp.sum(near.distances), near

  grad = jax.jit(jax.grad(total, (0, 1), has_aux=True), static_argnums=2)
  gradients, expected = grad(features, prototypes, "xla")
  others, found = grad(features, prototypes, "pallas")
  np.testing.assert_array_equal(found.cells, expected.cells)
  np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-5)
  for gradient, other in zip(gradients, others, strict=True):
    np.testing.assert_allclose(other, gradient, rtol=1e-5, atol=1e-6)


def test_first_of_equal_cells_and_first_that_is_no_number():
  # Whole numbers: products without rounding, and many ties.
  rng = np.random.default_rng(0)
  windows = rng.integers(0, 2, (2, 130, 3)).astype(np.float32)
  flat = rng.integers(0, 2, (5, 3)).astype(np.float32)
  offsets = np.zeros((2, 130), np.float32)
  expected = np.argmax(np.einsum("bce,pe->bcp", windows, flat), axis=1)
  nearest = jax.jit(kernel.nearest_cells)
  np.testing.assert_array_equal(nearest(windows, flat, offsets), expected)
  windows[1, [70, 100]] = np.nan
  found = np.asarray(nearest(windows, flat, offsets))
  np.testing.assert_array_equal(found[0], expected[0])
  np.testing.assert_array_equal(found[1], 70)


_NEEDS_GPU = pytest.mark.skipif(
  jax.__version_info__ >= (0, 11),
  reason="later JAX lowers a kernel of Triton only where it finds a GPU",
)


@pytest.mark.parametrize(
  ("platform", "call"),
  [
    ("tpu", "tpu_custom_call"),
    pytest.param("cuda", "__gpu$xla.gpu.triton", marks=_NEEDS_GPU),
  ],
)
def test_kernel_is_lowered_for_accelerators(platform, call):
  windows, flat = arrays(196, 128, 700)
  program = export.export(
    jax.jit(kernel.nearest_cells),
    platforms=[platform],
    disabled_checks=[export.DisabledSafetyCheck.custom_call(call)],
  )(windows, flat, jnp.zeros((3, 196)))
  assert f"@{call}(" in program.mlir_module()
