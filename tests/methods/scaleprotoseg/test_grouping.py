"""Groups of prototypes: the projection, and weighted geometric means."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import optax

from protojax.methods.scaleprotoseg import grouping

projected = jax.jit(grouping.projected)
ALL = np.ones((3, 5), bool)


def _weights(seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(3, 2, 5)).astype(np.float32)


def test_the_projection_is_optaxs():
  found = projected(_weights(), ALL)
  for k, g in np.ndindex(3, 2):
    expected = optax.projections.projection_simplex(_weights()[k, g])
    assert_allclose(found[k, g], expected, atol=1e-6)


def test_the_projection_is_the_nearest_point_of_the_simplex():
  """KKT: kept weights fall by one number, which no other weight exceeds."""
  found = np.asarray(projected(_weights(), ALL))
  assert_allclose(found.sum(-1), 1, atol=1e-6)
  assert (found >= 0).all()
  for k, g in np.ndindex(3, 2):
    kept = found[k, g] > 0
    fall = (_weights()[k, g] - found[k, g])[kept]
    assert_allclose(fall, fall[0], atol=1e-6)
    assert (_weights()[k, g][~kept] <= fall[0] + 1e-6).all()
  assert (found == 0).any()


def test_dead_prototypes_get_nothing_and_their_class_the_whole():
  alive = ALL.copy()
  alive[0, :3] = False
  alive[1] = False
  found = np.asarray(projected(_weights(), alive))
  assert_array_equal(found[0, :, :3], 0)
  assert_allclose(found[0].sum(-1), 1, atol=1e-6)
  assert_array_equal(found[1], 0)
  # As if they were not there at all.
  alone = projected(_weights()[:1, :, 3:], ALL[:1, 3:])
  assert_allclose(found[:1, :, 3:], alone, atol=1e-6)


def test_a_group_is_the_product_of_powers():
  rng = np.random.default_rng(1)
  s, k, m, g = 2, 3, 2, 2
  distances = rng.uniform(0, 4, (1, 2, 2, s, k, m)).astype(np.float32)
  ratios = (distances + 1) / (distances + 1e-4)
  alive = np.ones((s, k, m), bool)
  alive[:, 2] = False
  weights = rng.uniform(0, 1, (k, g, s * m)).astype(np.float32)
  weights /= weights.sum(-1, keepdims=True)
  there = np.where(alive[None, None, None], np.log(ratios), 0)
  found = jax.jit(grouping.activations)(there, weights, alive)
  for c, e in np.ndindex(k, g):
    product = np.ones((1, 2, 2))
    for scale, j in np.ndindex(s, m):
      product *= ratios[..., scale, c, j] ** weights[c, e, scale * m + j]
    expected = product if c < 2 else 0
    assert_allclose(found[..., c, e], expected, rtol=1e-4)
  assert_array_equal(grouping.by_class(jnp.asarray(alive))[2], False)
