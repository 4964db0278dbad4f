import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from protojax.methods.csr import atlas

CONCEPT_OF = np.array([0, 0, 1, 1, 2])


def test_nearest_images_equal_brute_force():
  rng = np.random.default_rng(0)
  vectors = rng.normal(size=(9, 3, 4)).astype(np.float32)
  vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
  prototypes = rng.normal(size=(5, 4)).astype(np.float32) * 3
  present = rng.random((9, 3)) < 0.6
  present[:, 2] = False
  images, cosines, counts = atlas.nearest_images(
    vectors, present, prototypes, CONCEPT_OF
  )
  directions = prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)
  expected = np.zeros(5, int)
  for j, concept in enumerate(CONCEPT_OF):
    rows = np.flatnonzero(present[:, concept])
    found = {i: vectors[i, concept] @ directions[j] for i in rows}
    if not found:
      assert images[j] == -1
      continue
    assert images[j] == max(found, key=found.get)
    assert_allclose(cosines[j], max(found.values()), atol=1e-6)
  for i, concept in np.argwhere(present):
    own = np.flatnonzero(concept == CONCEPT_OF)
    directions = (
      prototypes[own] / np.linalg.norm(prototypes[own], axis=1)[:, None]
    )
    expected[own[np.argmax(directions @ vectors[i, concept])]] += 1
  assert_array_equal(counts, expected)


def test_absent_means_are_of_the_images_without_the_concept():
  scores = np.arange(15, dtype=np.float32).reshape(3, 5)
  present = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1]], bool)
  found = atlas.absent_means(scores, present, CONCEPT_OF)
  # Concept 0 is missing in images 1, 2; concept 1 in 0, 1; concept 2 nowhere.
  assert_allclose(found, [7.5, 8.5, 4.5, 5.5, 0])
