"""Relations of classes: closed forms, invariances, and where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.methods.tcsa_uda import relations
from protojax.methods.tcsa_uda.relations import Means, Memory


def rows(seed, classes=5, channels=32):
  return np.random.default_rng(seed).normal(size=(classes, channels))


def loss(vectors, text, mode, there=None):
  there = np.ones(len(vectors), bool) if there is None else there
  image = relations.of_vectors(jnp.float32(vectors), mode)
  return float(relations.distance(image, text, there, mode))


def words(text, mode):
  return np.asarray(relations.of_vectors(jnp.float32(text), mode))


@pytest.mark.parametrize("mode", relations.MODES)
def test_it_is_zero_where_features_are_the_words(mode):
  text = rows(0)
  assert abs(loss(text, words(text, mode), mode)) < 1e-5


def test_parity_is_zero_for_any_rotation_and_scale_of_the_words():
  text = rows(0, channels=6)
  padded = np.pad(text, ((0, 0), (0, 10)))
  turn, _ = np.linalg.qr(rows(1, 16, 16))
  scale = np.array([0.1, 3, 1, 7, 0.5])[:, None]
  found = scale * (padded @ turn)
  assert abs(loss(found, words(text, "gram_parity"), "gram_parity")) < 1e-5


def test_relation_knows_no_scale_and_no_offset_of_a_row():
  text, found = words(rows(0), "relation"), rows(1)
  scale = np.array([0.1, 3, 1, 7, 0.5])[:, None]
  offset = np.array([5, -2, 0, 1, 3])[:, None]
  before = loss(found, text, "relation")
  np.testing.assert_allclose(
    loss(scale * found + offset, text, "relation"), before, atol=1e-5
  )
  assert 0.1 < before < 1.9


def test_relation_is_one_less_the_correlation_of_the_pairs():
  a, b = rows(2), rows(3)
  upper = np.triu_indices(5, 1)
  pairs = [np.corrcoef(x)[upper] for x in (a, b)]
  wanted = 1 - np.corrcoef(*pairs)[0, 1]
  np.testing.assert_allclose(
    loss(a, words(b, "relation"), "relation"), wanted, atol=1e-5
  )


def test_copt_compares_covariances():
  a, b = rows(2), rows(3)
  first, second = (np.cov(x) for x in (a, b))
  wanted = 1 - np.sum(first * second) / np.sqrt(
    np.sum(first**2) * np.sum(second**2)
  )
  np.testing.assert_allclose(
    loss(a, words(b, "copt"), "copt"), wanted, atol=1e-5
  )


def test_random_rectified_rows_are_nearly_alike_but_in_relation():
  """Gotcha 14: 0.994 of the cosine in parity, 0 of the correlation."""
  found = {"gram_parity": [], "relation": []}
  for seed in range(60):
    both = np.maximum(rows(seed, 10, 256), 0)
    for mode, values in found.items():
      a, b = both[:5], both[5:]
      values.append(1 - loss(a, words(b, mode), mode))
  assert 0.99 < np.mean(found["gram_parity"]) < 0.997
  assert abs(np.mean(found["relation"])) < 0.15


@pytest.mark.parametrize(
  ("mode", "count"), [("relation", 2), ("copt", 1), ("gram_parity", 1)]
)
def test_too_few_classes_say_nothing(mode, count):
  there = np.arange(5) < count
  text = words(rows(0), mode)
  assert loss(rows(1), text, mode, there) == 0
  assert loss(rows(1), text, mode, np.arange(5) < count + 1) != 0
  # And classes that are not there have no say.
  other = rows(1)
  other[4] = 100
  some = np.arange(5) < 4
  assert loss(other, text, mode, some) == loss(rows(1), text, mode, some)


def test_class_means_are_those_of_a_loop_over_all_devices():
  rng = np.random.default_rng(0)
  features = np.float32(rng.normal(size=(4, 3, 5, 6)))
  labels = rng.integers(0, 3, (4, 3, 5))
  labels[0, 0, 0] = 255
  program = parallel.pmap(
    lambda f, y: relations.class_means(f, y, 4), in_axes=(0, 0), out_axes=None
  )
  sharded = parallel.shard({"features": features, "labels": labels})
  found = jax.device_get(program(sharded["features"], sharded["labels"]))
  for k in range(3):
    np.testing.assert_allclose(
      found.vectors[k], features[labels == k].mean(axis=0), atol=1e-5
    )
  assert found.there.tolist() == [True, True, True, False]
  assert not found.vectors[3].any()


@pytest.mark.parametrize("decay", [0.01, 0.9])
def test_running_means_are_the_formula(decay):
  old, new = rows(0), rows(1)
  known = np.array([True, True, False, False, True])
  there = np.array([True, False, True, False, True])
  means = Means(jnp.float32(new), jnp.asarray(there))
  found, seen = relations.blended(jnp.float32(old), known, means, decay)
  wanted = old.copy()
  wanted[[0, 4]] = decay * old[[0, 4]] + (1 - decay) * new[[0, 4]]
  wanted[2] = new[2]
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  assert np.asarray(seen).tolist() == [True, True, True, False, True]


@pytest.mark.parametrize(
  ("mode", "detached"),
  [
    ("relation", False),
    ("copt", False),
    ("gram_parity", False),
    ("gram_parity", True),
  ],
)
def test_the_gradient_reaches_the_features_but_in_the_detached_mode(
  mode, detached
):
  text, there = words(rows(0), mode), jnp.ones(5, bool)
  memory = Memory(jnp.float32(rows(2)), there)

  def value(vectors):
    means = Means(vectors, there)
    found, after = relations.compared(means, text, memory, mode, 0.5, detached)
    return found, after

  slope = jax.jit(jax.grad(value, has_aux=True))
  gradient, after = slope(jnp.float32(rows(1)))
  assert np.any(np.asarray(gradient) != 0) != detached
  assert np.isfinite(gradient).all()
  # The memory moves in every mode, and has no gradient itself.
  assert not np.allclose(after.vectors, memory.vectors)


def test_the_distance_of_centres():
  a, b = rows(0), rows(1)
  known = np.array([True, False, True, True, True])
  total, each = relations.centre_distance(jnp.float32(a), jnp.float32(b), known)
  wanted = np.where(known, ((a - b) ** 2).mean(axis=1), 0)
  np.testing.assert_allclose(each, wanted, rtol=1e-5)
  np.testing.assert_allclose(total, wanted.sum(), rtol=1e-5)
  same, _ = relations.centre_distance(jnp.float32(a), jnp.float32(a), known)
  assert same == 0
