"""Similarities: values by hand, order, weights, and exactness near zero."""

import jax
import numpy as np
import pytest

from protojax.prototypes import pooling, similarity
from protojax.types import UserError


def test_log_is_the_papers():
  log = jax.jit(similarity.load("log").activation)
  np.testing.assert_allclose(log(0.0), 9.2103, atol=1e-4)
  np.testing.assert_allclose(log(1.0), np.log(2 / 1.0001), rtol=1e-6)


@pytest.mark.parametrize("name", ["log", "linear", "cosine"])
def test_activation_falls_with_distance(name):
  distances = np.linspace(0, 2, 50, dtype=np.float32)
  found = jax.jit(similarity.load(name).activation)(distances)
  assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("name", ["log", "linear", "cosine"])
def test_inverse_gives_the_distance_back(name):
  chosen = similarity.load(name)
  distances = np.array([0, 1e-5, 1e-3, 0.1, 1, 2], np.float32)
  back = jax.jit(chosen.inverse)(jax.jit(chosen.activation)(distances))
  np.testing.assert_allclose(back, distances, rtol=1e-4, atol=1e-7)
  far = 2.0 if name == "cosine" else 128.0
  ends = np.asarray(chosen.activation(np.array([0, far], np.float32)))
  np.testing.assert_allclose(chosen.span(128), ends[0] - ends[1], rtol=1e-3)


@pytest.mark.parametrize("name", ["log", "linear", "cosine"])
def test_paired_equals_the_map_and_is_zero_for_equals(name):
  generator = np.random.default_rng(0)
  patches = generator.uniform(size=(4, 128)).astype(np.float32)
  prototypes = generator.uniform(size=(3, 128)).astype(np.float32)
  chosen = similarity.load(name)
  distance, paired = jax.jit(chosen.distance), jax.jit(chosen.paired)
  maps = distance(patches[:, None, None], prototypes[:, None, None])
  np.testing.assert_allclose(
    paired(patches[:, None], prototypes[None]),
    np.asarray(maps)[:, 0, 0],
    atol=1e-4,
  )
  np.testing.assert_array_equal(paired(patches, patches), 0.0)


def test_projection_is_the_length_along_the_prototype():
  generator = np.random.default_rng(0)
  patches = generator.normal(size=(2, 3, 5, 4)).astype(np.float32)
  prototypes = generator.normal(size=(6, 1, 1, 4)).astype(np.float32)
  chosen = similarity.load("projection")
  maps = jax.jit(lambda z, p: chosen.activation(chosen.distance(z, p)))(
    patches, prototypes
  )
  naive = patches.reshape(-1, 4) @ prototypes.reshape(-1, 4).T
  np.testing.assert_allclose(maps.reshape(-1, 6), naive, rtol=1e-4, atol=1e-5)
  near = jax.jit(pooling.nearest, static_argnums=2)(patches, prototypes, chosen)
  flat = naive.reshape(2, 15, 6)
  np.testing.assert_array_equal(near.cells, flat.argmax(axis=1))
  found = chosen.activation(near.distances)
  np.testing.assert_allclose(found, flat.max(axis=1), rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(chosen.inverse(found), near.distances)


def test_paired_cosine_of_a_vector_of_zeros_is_one():
  paired = similarity.load("cosine").paired
  zeros, ones = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
  total = jax.jit(jax.value_and_grad(lambda u, v: paired(u, v).sum(), (0, 1)))
  for pair in [(zeros, ones), (ones, zeros), (zeros, zeros)]:
    value, gradients = total(*pair)
    assert value == 1
    assert all(np.isfinite(g).all() for g in gradients)


def test_weights_are_never_negative():
  def weight(name, value):
    return similarity.load(name).weight(np.float32(value), 128)

  np.testing.assert_array_equal(weight("log", 3.5), 3.5)
  np.testing.assert_array_equal(weight("cosine", -0.25), 0.0)
  np.testing.assert_array_equal(weight("cosine", 0.25), 0.25)
  np.testing.assert_array_equal(weight("linear", -28.0), 100.0)
  np.testing.assert_array_equal(weight("linear", -130.0), 0.0)


def test_wrong_name_lists_the_right_ones():
  with pytest.raises(
    UserError, match=r"'logg'. Did .* Expected one of cosine, linear, log, pro"
  ):
    similarity.load("logg")
