"""The nearest patch: brute force, ties, gradients, blocks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.prototypes import pooling, similarity


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
  found = jax.jit(lambda z, p: pooling.nearest(z, p, metric))(
    features, prototypes
  )
  maps = np.asarray(metric.distance(features, prototypes))
  maps = maps.reshape(len(features), -1, len(prototypes))
  np.testing.assert_array_equal(found.cells, maps.argmin(axis=1))
  np.testing.assert_allclose(found.distances, maps.min(axis=1), atol=1e-4)
  assert found.cells.dtype == np.int32


@pytest.mark.parametrize("name", ["log", "cosine"])
@pytest.mark.parametrize("tile", [(1, 7), (2, 7), (9, 3), (2, 3)])
def test_tiles_change_nothing(name, tile):
  features, prototypes = data()
  metric = similarity.load(name)

  def total(features, prototypes, tile):
    found = pooling.nearest(features, prototypes, metric, tile)
    return jnp.sum(metric.activation(found.distances)), found

  grad = jax.jit(
    jax.value_and_grad(total, argnums=(0, 1), has_aux=True), static_argnums=2
  )
  (_, whole), expected = grad(features, prototypes, None)
  (_, found), gradients = grad(features, prototypes, tile)
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
  features = jnp.ones((1, 3, 3, 4)).at[0, 0, 0].set(9.0)
  prototypes = jnp.zeros((1, 1, 1, 4))
  nearest = functools.partial(
    pooling.nearest, similarity=similarity.load("linear")
  )
  assert nearest(features, prototypes).cells == 1
  gradient = jax.grad(lambda z: nearest(z, prototypes).distances.sum())(
    features
  )
  touched = np.abs(gradient).sum(axis=-1).reshape(-1)
  np.testing.assert_array_equal(touched, [0, 8, 0, 0, 0, 0, 0, 0, 0])


def test_what_is_no_number_is_not_hidden():
  features, prototypes = data()
  features[1, 2, 0, 3] = np.nan
  for tile in (None, (2, 3)):
    near = pooling.nearest(
      features, prototypes, similarity.load("linear"), tile
    )
    np.testing.assert_array_equal(near.cells[1], 2 * 3)
    assert np.isnan(near.distances[1]).all()
    assert np.isfinite(near.distances[0]).all()


def test_patch_taken_as_prototype_is_at_distance_zero_exactly():
  features, _ = data()
  features += 10.0  # |z|² - 2zp + |p|² would be off by 1e-4 here
  prototypes = features[2, 3, 1].reshape(1, 1, 1, -1)
  found = pooling.nearest(features, prototypes, similarity.load("log"))
  assert found.cells[2, 0] == 3 * 3 + 1
  assert found.distances[2, 0] == 0


def test_at_reads_the_cells_it_is_given():
  features, prototypes = data()
  cells = np.random.default_rng(1).integers(0, 12, (5, 7)).astype(np.int32)
  distances = pooling.at(
    features, prototypes, cells, similarity.load("log"), tile=(2, 4)
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
