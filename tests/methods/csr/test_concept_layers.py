import jax
import numpy as np
from numpy.testing import assert_allclose

from protojax.methods.csr import concept_layers


def test_local_vectors_are_weighted_means():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
  maps = rng.normal(size=(2, 3, 4, 6)).astype(np.float32) * 3
  found = jax.jit(concept_layers.local_vectors)(features, maps)
  for b in range(2):
    for c in range(6):
      share = np.exp(maps[b, ..., c])
      share /= share.sum()
      expected = sum(
        share[y, x] * features[b, y, x] for y in range(3) for x in range(4)
      )
      assert_allclose(found[b, c], expected, atol=1e-5)


def test_a_concept_in_one_cell_has_the_vector_of_that_cell():
  features = np.random.default_rng(1).normal(size=(1, 2, 2, 3)).astype("f4")
  maps = np.full((1, 2, 2, 1), -100, np.float32)
  maps[0, 1, 0] = 100
  found = concept_layers.local_vectors(features, maps)
  assert_allclose(found[0, 0], features[0, 1, 0], atol=1e-6)


def test_the_projector_treats_a_cell_as_a_vector():
  """So what is learned on pooled vectors holds for single cells."""
  projector = concept_layers.Projector(4)
  cells = np.random.default_rng(2).normal(size=(2, 3, 3, 5)).astype("f4")
  variables = jax.jit(projector.init)(jax.random.key(0), cells)
  whole = np.asarray(projector.apply(variables, cells))
  one = projector.apply(variables, cells[1, 2, 0][None])
  assert_allclose(one[0], whole[1, 2, 0], atol=1e-6)
  assert_allclose(np.linalg.norm(whole, axis=-1), 1, atol=1e-5)
