"""The nearest patch: brute force, ties, gradients, blocks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.prototypes import pooling, similarity

nearest = jax.jit(pooling.nearest, static_argnums=(2, 3))


def data(size=(1, 1), batch=5, count=7):
  generator = np.random.default_rng(0)
  features = generator.uniform(size=(batch, 4, 3, 8))
  prototypes = generator.uniform(size=(count, *size, 8))
  return features.astype(np.float32), prototypes.astype(np.float32)


@pytest.mark.parametrize("name", ["log", "cosine"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
def test_nearest_is_the_minimum_of_the_map(name, size):
  features, prototypes = data(size)
  metric = similarity.load(name)
  found = nearest(features, prototypes, metric)
  maps = np.asarray(jax.jit(metric.distance)(features, prototypes))
  maps = maps.reshape(len(features), -1, len(prototypes))
  np.testing.assert_array_equal(found.cells, maps.argmin(axis=1))
  np.testing.assert_allclose(found.distances, maps.min(axis=1), atol=1e-4)
  assert found.cells.dtype == np.int32


@functools.cache
def _with_gradients(name, tile):
  metric = similarity.load(name)

  def total(features, prototypes):
    found = pooling.nearest(features, prototypes, metric, tile)
    return jnp.sum(metric.activation(found.distances)), found

  grad = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
  return jax.jit(grad)(*data())


@pytest.mark.parametrize("name", ["log", "cosine"])
@pytest.mark.parametrize("tile", [(1, 7), (2, 7), (9, 3), (2, 3)])
def test_tiles_change_nothing(name, tile):
  (_, whole), expected = _with_gradients(name, None)
  (_, found), gradients = _with_gradients(name, tile)
  np.testing.assert_array_equal(found.cells, whole.cells)
  np.testing.assert_allclose(found.distances, whole.distances, rtol=1e-6)
  for ours, other in zip(gradients, expected, strict=True):
    np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 2)])
def test_gradient_is_that_of_the_minimum(size):
  features, prototypes = data(size)
  metric = similarity.load("log")

  def ours(z, p):
    return jnp.sum(pooling.nearest(z, p, metric, tile=(2, 4)).distances)

  def through_maps(z, p):
    return jnp.sum(jnp.min(metric.distance(z, p), axis=(1, 2)))

  gradients = jax.jit(jax.grad(ours, argnums=(0, 1)))(features, prototypes)
  expected = jax.jit(jax.grad(through_maps, argnums=(0, 1)))(
    features, prototypes
  )
  for gradient, other in zip(gradients, expected, strict=True):
    np.testing.assert_allclose(gradient, other, atol=1e-5)


def test_first_of_equal_cells_wins_alone():
  features = np.ones((1, 3, 3, 4), np.float32)
  features[0, 0, 0] = 9
  prototypes = np.zeros((1, 1, 1, 4), np.float32)

  def total(features):
    found = pooling.nearest(features, prototypes, similarity.load("linear"))
    return found.distances.sum(), found

  gradient, found = jax.jit(jax.grad(total, has_aux=True))(features)
  assert found.cells == 1
  touched = np.abs(gradient).sum(axis=-1).reshape(-1)
  np.testing.assert_array_equal(touched, [0, 8, 0, 0, 0, 0, 0, 0, 0])


def test_what_is_no_number_is_not_hidden():
  features, prototypes = data()
  features[1, 2, 0, 3] = np.nan
  for tile in (None, (2, 3)):
    near = nearest(features, prototypes, similarity.load("linear"), tile)
    np.testing.assert_array_equal(np.asarray(near.cells)[1], 2 * 3)
    distances = np.asarray(near.distances)
    assert np.isnan(distances[1]).all()
    assert np.isfinite(distances[0]).all()


def test_patch_taken_as_prototype_is_at_distance_zero_exactly():
  features, _ = data()
  features += 10.0  # |z|² - 2zp + |p|² would be off by 1e-4 here
  prototypes = features[2, 3, 1].reshape(1, 1, 1, -1)
  found = nearest(features, prototypes, similarity.load("log"))
  assert np.asarray(found.cells)[2, 0] == 3 * 3 + 1
  assert np.asarray(found.distances)[2, 0] == 0


def test_at_reads_the_cells_it_is_given():
  features, prototypes = data()
  cells = np.random.default_rng(1).integers(0, 12, (5, 7)).astype(np.int32)
  at = jax.jit(pooling.at, static_argnums=(3, 4))
  distances = np.asarray(
    at(features, prototypes, cells, similarity.load("log"), (2, 4))
  )
  flat = features.reshape(5, 12, 8)
  for b, p in np.ndindex(5, 7):
    expected = np.sum((flat[b, cells[b, p]] - prototypes[p, 0, 0]) ** 2)
    np.testing.assert_allclose(distances[b, p], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["log", "cosine"])
def test_neither_maps_nor_patches_of_all_prototypes_are_held(name):
  metric, tile = similarity.load(name), (2, 125)
  features = jax.ShapeDtypeStruct((64, 7, 7, 32), np.float32)
  prototypes = jax.ShapeDtypeStruct((2000, 1, 1, 32), np.float32)

  def total(z, p):
    return jnp.sum(pooling.nearest(z, p, metric, tile).distances)

  for function in (total, jax.value_and_grad(total, argnums=(0, 1))):
    program = jax.jit(function).lower(features, prototypes).compile()
    held = program.memory_analysis().temp_size_in_bytes
    assert held < 4 * 64 * 2000 * 32 / 4
