"""Distance of patches to the boundary, against hyperplanes in NumPy."""

import jax
import numpy as np
import pytest

from protojax.methods.st_protopnet import boundary, branches


def setting():
  rng = np.random.default_rng(0)
  patches = rng.normal(size=(5, 4)).astype(np.float32)
  prototypes = rng.normal(size=(6, 1, 1, 4)).astype(np.float32)
  weights = rng.normal(size=(3, 6)).astype(np.float32)
  return patches, np.array([0, 1, 2, 0, 1]), prototypes, weights


@pytest.mark.parametrize("name", ["projection", "cosine"])
def test_a_patch_is_as_far_as_its_foot_on_the_nearest_plane(name):
  """Moved by that distance along the normal, two classes are even."""
  patches, labels, prototypes, weights = setting()
  found = jax.jit(boundary.boundary, static_argnums=4)(
    patches, labels, prototypes, weights, branches.load(name)
  )
  normals = weights @ prototypes[:, 0, 0]
  for z, c, margin, far in zip(patches, labels, *found, strict=True):
    logits = normals @ z
    others = [k for k in range(3) if k != c]
    leads = [logits[c] - logits[k] for k in others]
    np.testing.assert_allclose(margin, min(leads), rtol=1e-4, atol=1e-5)
    planes = [normals[c] - normals[k] for k in others]
    feet = [z - n * (n @ z) / (n @ n) for n in planes]
    signed = [
      np.sign(lead) * np.linalg.norm(z - foot)
      for lead, foot in zip(leads, feet, strict=True)
    ]
    np.testing.assert_allclose(far, min(signed), rtol=1e-4, atol=1e-5)


def test_the_distance_does_not_grow_with_the_head():
  patches, labels, prototypes, weights = setting()
  metric = branches.load("cosine")
  once, twice = (
    boundary.boundary(patches, labels, prototypes, factor * weights, metric)
    for factor in (1, 2)
  )
  np.testing.assert_allclose(twice.margin, 2 * once.margin, rtol=1e-5)
  np.testing.assert_allclose(twice.distance, once.distance, rtol=1e-5)


def test_a_rectified_similarity_counts_where_it_is_positive():
  patches = np.array([[1.0, 0.0]], np.float32)
  prototypes = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)[:, None, None]
  weights = np.array([[1, 5, 0], [0, 0, 1]], np.float32)
  found = boundary.boundary(
    patches, np.array([0]), prototypes, weights, branches.load("relu_cosine")
  )
  # Logits 1 and 0; the prototype behind the patch adds nothing. The gradient
  # of the rectifier at 0 is 0.
  np.testing.assert_allclose([found.margin[0], found.distance[0]], [1.0, 1.0])
