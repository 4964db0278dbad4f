import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from protojax.methods.csr import kmeans

spherical_kmeans = jax.jit(kmeans.spherical_kmeans, static_argnums=(2, 3))
farthest_points = jax.jit(kmeans.farthest_points)


def unit(x):
  return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def around(seed, centres, each, spread=0.1):
  """Vectors scattered about some directions, in turn."""
  noise = np.random.default_rng(seed).normal(size=(each, *centres.shape))
  return unit(centres + spread * noise).reshape(-1, centres.shape[1])


def naive_farthest(vectors, centres, moved):
  centres = centres.copy()
  kept = [c for c, m in zip(centres, moved, strict=True) if not m]
  for j in np.flatnonzero(moved):
    covered = [max((v @ c for c in kept), default=-2) for v in vectors]
    centres[j] = vectors[np.argmin(covered)]
    kept.append(centres[j])
  return centres


def naive_kmeans(vectors, count, iterations):
  mean = vectors.mean(axis=0)
  first = vectors[np.argmax(vectors @ mean)]
  centres = np.tile(first, (count, 1))
  centres = naive_farthest(vectors, centres, np.arange(count) > 0)
  for _ in range(iterations):
    chosen = np.argmax(vectors @ centres.T, axis=1)
    for j in range(count):
      if (chosen == j).any():
        centres[j] = unit(vectors[chosen == j].sum(axis=0))
  return centres


def test_kmeans_equals_a_loop():
  vectors = around(0, np.eye(5), 12, spread=0.5)
  mask = np.ones(60, bool)
  found = spherical_kmeans(vectors, mask, 4, 3)
  assert_allclose(found, naive_kmeans(vectors, 4, 3), atol=1e-5)


def test_kmeans_finds_directions_and_ignores_padding():
  directions = np.eye(6)[:3]
  vectors = around(1, directions, 20, spread=0.05)
  padding = unit(np.ones((30, 6)))
  mask = np.arange(90) < 60
  found = np.asarray(
    spherical_kmeans(np.concatenate([vectors, padding]), mask, 3, 5)
  )
  # Each direction has one centre, and none went to the padding.
  assert_array_equal(np.sort(np.argmax(directions @ found.T, axis=1)), range(3))
  assert np.all(np.max(directions @ found.T, axis=1) > 0.99)


def test_a_concept_without_vectors_keeps_finite_centres():
  vectors = np.zeros((4, 3), np.float32)
  found = spherical_kmeans(vectors, np.zeros(4, bool), 2, 3)
  assert np.all(np.isfinite(np.asarray(found)))


def test_farthest_points_equal_a_loop():
  rng = np.random.default_rng(2)
  vectors, centres = (
    unit(rng.normal(size=(30, 4))),
    unit(rng.normal(size=(6, 4))),
  )
  moved = np.array([0, 1, 0, 1, 1, 0], bool)
  found = farthest_points(vectors, np.ones(30, bool), centres, moved)
  assert_allclose(found, naive_farthest(vectors, centres, moved), atol=1e-6)
  assert_array_equal(np.asarray(found)[~moved], centres[~moved])


def test_reseeding_moves_what_nothing_chooses():
  directions = np.eye(4)
  vectors = around(3, directions, 10, spread=0.02)[:, None]
  present = np.ones((40, 1), bool)
  # Two centres take all vectors; nothing chooses those on the far side.
  taking = unit(directions[:2] + 0.5 * directions[2:])
  centres = np.concatenate([taking, -taking])
  moved, count = kmeans.move_unused(
    vectors, present, centres[None].astype("f4")
  )
  assert count == 2
  assert_allclose(moved[0, :2], centres[:2], atol=1e-6)
  reached = np.argmax(directions @ moved[0, 2:].T, axis=0)
  assert set(reached) == {2, 3}
  again, count = kmeans.move_unused(vectors, present, moved)
  assert count == 0
  assert_allclose(again, moved, atol=1e-6)


def test_concepts_have_centres_of_their_own_images():
  first, second = np.eye(4)[:1], np.eye(4)[1:2]
  vectors = np.stack(
    [around(4, first, 10, 0.01), around(5, second, 10, 0.01)], axis=1
  )
  present = np.stack([np.arange(10) < 5, np.arange(10) >= 5], axis=1)
  # What an image does not show is somewhere else.
  vectors[~present] = np.eye(4)[3]
  found = np.asarray(kmeans.cluster_by_concept(vectors, present, 2, 3))
  assert np.all(found[0] @ first[0] > 0.99)
  assert np.all(found[1] @ second[0] > 0.99)
