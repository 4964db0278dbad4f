"""The structs survive what JAX puts in place of their arrays."""

import jax
import jax.numpy as jnp
import numpy as np

from protojax.prototypes import neighbours, pooling, similarity
from protojax.prototypes.bank import Provenance


def test_structs_can_hold_specs_and_axes():
  images = np.zeros((3, 6), np.int32)
  for struct in (
    Provenance.empty(4),
    pooling.Nearest(np.zeros((2, 4)), np.zeros((2, 4), int)),
    neighbours.Neighbours(np.zeros((3, 6)), images, images),
  ):
    specs = jax.eval_shape(lambda x: jax.tree.map(jnp.asarray, x), struct)
    assert jax.tree.structure(specs) == jax.tree.structure(struct)
    assert all(
      axis == 0 for axis in jax.tree.leaves(jax.tree.map(lambda _: 0, struct))
    )


def test_nearest_can_be_mapped():
  features = np.random.default_rng(0).uniform(size=(5, 2, 3, 3, 4))
  features = features.astype(np.float32)
  prototypes = features[0, 0, :2, 2].reshape(2, 1, 1, 4)

  def nearest(features):
    return pooling.nearest(features, prototypes, similarity.load("log"))

  stacked = jax.jit(jax.vmap(nearest))(features)
  nearest = jax.jit(nearest)
  for one, distances in zip(features, stacked.distances, strict=True):
    np.testing.assert_allclose(nearest(one).distances, distances, rtol=1e-5)
