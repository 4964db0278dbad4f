"""Distance maps against float64 brute force and the convolution formula."""

import jax
import numpy as np
import pytest
from scipy import signal

from protojax.prototypes import distance


def data(height, width, count=5, channels=16, seed=0):
  generator = np.random.default_rng(seed)
  features = generator.uniform(size=(2, 6, 5, channels))
  prototypes = generator.uniform(size=(count, height, width, channels))
  return features.astype(np.float32), prototypes.astype(np.float32)


def loop(features, prototypes, metric):
  """Patch by patch, in float64."""
  features, prototypes = np.float64(features), np.float64(prototypes)
  count, height, width, _ = prototypes.shape
  rows, columns = features.shape[1] - height + 1, features.shape[2] - width + 1
  result = np.zeros((len(features), rows, columns, count))
  for b, y, x, p in np.ndindex(*result.shape):
    patch = features[b, y : y + height, x : x + width]
    result[b, y, x, p] = metric(patch.ravel(), prototypes[p].ravel())
  return result


def l2(z, p):
  return np.sum((z - p) ** 2)


def cosine(z, p):
  return 1 - z @ p / np.linalg.norm(z) / np.linalg.norm(p)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 5)])
@pytest.mark.parametrize(
  ("ours", "metric"), [(distance.squared_l2, l2), (distance.cosine, cosine)]
)
def test_maps_equal_a_loop_over_patches(size, ours, metric):
  features, prototypes = data(*size)
  result = jax.jit(ours)(features, prototypes)
  expected = loop(features, prototypes, metric)
  assert result.shape == expected.shape
  np.testing.assert_allclose(result, expected, atol=1e-4)


def test_squared_l2_equals_the_convolution_formula():
  features, prototypes = data(2, 2)
  ones = np.ones_like(prototypes[0])
  expected = np.zeros((2, 5, 4, 5))
  for b in range(2):
    norms = signal.correlate(features[b] ** 2, ones, mode="valid")[..., 0]
    for p, prototype in enumerate(prototypes):
      cross = signal.correlate(features[b], prototype, mode="valid")[..., 0]
      expected[b, ..., p] = norms - 2 * cross + np.sum(prototype**2)
  np.testing.assert_allclose(
    jax.jit(distance.squared_l2)(features, prototypes), expected, atol=1e-4
  )


def test_patches_lie_as_flat_prototypes_do():
  features, _ = data(1, 1)
  windows = jax.jit(distance.patches, static_argnums=(1, 2))(features, 2, 3)
  assert windows.shape == (2, 5, 3, 2 * 3 * 16)
  np.testing.assert_array_equal(
    np.asarray(windows)[1, 2, 1], features[1, 2:4, 1:4].reshape(-1)
  )


def test_squared_l2_is_never_negative():
  features, _ = data(1, 1, channels=128)
  prototypes = features.reshape(-1, 1, 1, 128)
  assert np.min(jax.jit(distance.squared_l2)(features, prototypes)) >= 0


def test_low_precision_features_become_float32():
  features, prototypes = data(1, 1)
  features = features.astype(jax.numpy.bfloat16)
  result = jax.jit(distance.squared_l2)(features, prototypes)
  assert result.dtype == np.float32
  expected = loop(np.asarray(features, np.float32), prototypes, l2)
  np.testing.assert_allclose(result, expected, atol=1e-4)


def test_vector_of_zeros_has_cosine_distance_one_and_finite_gradients():
  features, prototypes = data(1, 1)
  features[0, 0, 0] = 0
  prototypes[0] = 0
  result = np.asarray(jax.jit(distance.cosine)(features, prototypes))
  np.testing.assert_array_equal(result[0, 0, 0], 1.0)
  np.testing.assert_array_equal(result[..., 0], 1.0)
  gradients = jax.jit(
    jax.grad(lambda z, p: distance.cosine(z, p).sum(), argnums=(0, 1))
  )(features, prototypes)
  assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("length", [5, 8, 128])
def test_summed_is_the_sum_over_the_last_axis(length):
  values = np.random.default_rng(0).normal(size=(2, 3, length))
  values = values.astype(np.float32)
  found = jax.jit(distance.summed)(values)
  expected = np.sum(values, axis=-1, dtype=np.float64)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  gradient = jax.jit(jax.grad(lambda x: distance.summed(x**2).sum()))(values)
  np.testing.assert_array_equal(gradient, 2 * values)
