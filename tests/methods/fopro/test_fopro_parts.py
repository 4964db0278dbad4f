"""FoPro's prototypes, relation module and cleaning, against naive twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.fopro import cleaning, moving, relation

_RNG = np.random.default_rng(0)


def _unit(rows):
  return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _looped(vectors, rows, labels, kept, momentum):
  """The authors' loop, in float64."""
  found = vectors.astype(np.float64)
  for row, label, one in zip(rows, labels, kept, strict=True):
    if one:
      found[label] = momentum * found[label] + (1 - momentum) * row
  return found


def _batch(size=40, classes=5, channels=7):
  vectors = _unit(_RNG.normal(size=(classes, channels)))
  rows = _unit(_RNG.normal(size=(size, channels)))
  labels = _RNG.integers(0, classes - 1, size)  # The last class has none.
  kept = _RNG.random(size) < 0.7
  return vectors, rows, labels.astype(np.int32), kept


_averaged = jax.jit(moving.averaged, static_argnums=4)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.999])
def test_prototypes_move_as_in_the_loop(momentum):
  vectors, rows, labels, kept = _batch()
  found = _averaged(vectors, rows, labels, kept, momentum)
  expected = _looped(vectors, rows, labels, kept, momentum)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_allclose(found[-1], vectors[-1], atol=1e-7)


def test_the_order_of_other_classes_does_not_matter():
  vectors, rows, labels, kept = _batch()
  order = np.argsort(labels, kind="stable")  # Within a class it stays.
  one = _averaged(vectors, rows, labels, kept, 0.5)
  other = _averaged(vectors, rows[order], labels[order], kept[order], 0.5)
  np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_batch_is_counted_with_the_prototypes_before_it():
  vectors, rows, labels, kept = _batch()
  start = moving.Prototypes.empty(5, 7, 0.1)._replace(vectors=vectors)
  found = moving.moved(start, rows, labels, kept, 0.9)
  np.testing.assert_allclose(
    found.counts, np.bincount(labels[kept], minlength=5)
  )
  apart = np.linalg.norm(rows - vectors[labels], axis=1)
  expected = np.bincount(labels[kept], weights=apart[kept], minlength=5)
  np.testing.assert_allclose(found.distances, expected, rtol=1e-5)
  looped = _unit(_looped(vectors, rows, labels, kept, 0.9))
  np.testing.assert_allclose(found.vectors, looped, atol=1e-6)


def test_temperatures_are_finite_for_classes_without_images():
  n, total = np.array([0.0, 4.0, 3.0]), np.array([0.0, 2.0, 0.0])
  before = moving.Prototypes(
    np.zeros((3, 2)), n, total, np.full(3, 0.1, np.float32)
  )
  found = moving.cooled(before)
  np.testing.assert_allclose(
    found.temperatures, [0.1, 2 / (4 * np.log(14)), 0.01], rtol=1e-5
  )
  assert not np.any(found.counts)
  assert not np.any(found.distances)
  same = moving.cooled_at_end(before, np.array(3), 5)
  np.testing.assert_array_equal(same.counts, n)
  np.testing.assert_array_equal(
    moving.cooled_at_end(before, np.array(4), 5).temperatures,
    found.temperatures,
  )


def _tiled(params, rows, prototypes):
  """Every pair side by side, as in the authors' code."""
  b, k = len(rows), len(prototypes)
  pairs = np.concatenate(
    [np.repeat(rows, k, axis=0), np.tile(prototypes, (b, 1))], axis=1
  )
  first = np.concatenate([params["image"], params["prototype"]])
  hidden = np.maximum(pairs @ first, 0)
  return (hidden @ params["out"]).reshape(b, k)


@pytest.mark.parametrize("most", [1 << 24, 6 * 8 * 2])
def test_the_relation_is_that_of_all_pairs(most):
  params = jax.tree.map(np.asarray, relation.init(jax.random.key(0), 16, 8))
  rows, prototypes = _RNG.normal(size=(6, 16)), _RNG.normal(size=(5, 16))
  found = relation.scores(params, np.float32(rows), prototypes, most)
  np.testing.assert_allclose(found, _tiled(params, rows, prototypes), atol=1e-5)

  # The gradient, too, whether classes go in groups or not.
  def total(params, most):
    return jnp.sum(relation.scores(params, rows, prototypes, most) ** 2)

  for one, other in zip(
    jax.tree.leaves(jax.grad(total)(params, most)),
    jax.tree.leaves(jax.grad(total)(params, 1 << 24)),
    strict=True,
  ):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def _naive(mode, u, rho, y, trusted, gamma):
  """The rules, one image after the other."""
  found = []
  for i in range(len(y)):
    if trusted[i] or mode == 0:
      found.append((y[i], True))
      continue
    believed = mode in (2, 3) and rho[i, y[i]] > gamma
    asked = rho[i] if mode == 2 else u[i]
    if asked.max() > gamma and not believed:
      found.append((asked.argmax(), True))
    else:
      vote = mode != 2 and u[i, y[i]] > 1 / u.shape[1]
      found.append((y[i], bool(believed or vote)))
  return zip(*found, strict=True)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_labels_are_cleaned_as_the_rules_say(mode):
  b, k = 200, 4
  u = _RNG.dirichlet(np.full(k, 0.5), b)
  rho = _RNG.random((b, k))
  y = _RNG.integers(0, k, b).astype(np.int32)
  trusted = _RNG.random(b) < 0.1
  found = jax.jit(cleaning.cleaned, static_argnums=(0, 5))(
    mode, u, rho, y, trusted, 0.6
  )
  labels, kept = _naive(mode, np.float32(u), np.float32(rho), y, trusted, 0.6)
  np.testing.assert_array_equal(found.label, labels)
  np.testing.assert_array_equal(found.kept, kept)
  np.testing.assert_allclose(found.confidence, u[np.arange(b), y], rtol=1e-6)
  assert np.all(found.kept[trusted])
  np.testing.assert_array_equal(found.label[trusted], y[trusted])


def test_a_mode_that_asks_the_relation_needs_it():
  u = np.full((2, 2), 0.5)
  y, trusted = np.zeros(2, np.int32), np.zeros(2, bool)
  with pytest.raises(ValueError, match="mode 3 needs the relation"):
    cleaning.cleaned(3, u, None, y, trusted, 0.6)


def test_the_vote_sums_to_one_and_few_shots_vote_for_themselves():
  logits, near = _RNG.normal(size=(2, 6, 4))
  y = _RNG.integers(0, 4, 6).astype(np.int32)
  trusted = np.arange(6) < 2
  found = np.asarray(cleaning.vote(logits, near, y, trusted, 0.3))
  np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
  np.testing.assert_array_equal(found[:2], np.eye(4)[y[:2]])
  expected = 0.3 * jax.nn.softmax(logits) + 0.7 * jax.nn.softmax(near)
  np.testing.assert_allclose(found[2:], expected[2:], rtol=1e-5)
  # Before there are prototypes, nobody votes for himself.
  early = cleaning.vote(logits, None, y, trusted, 0.3)
  np.testing.assert_allclose(early, jax.nn.softmax(logits), rtol=1e-5)


def test_the_distance_is_summed_over_classes():
  vectors = _unit(_RNG.normal(size=(3, 5)))
  rows, y = _unit(_RNG.normal(size=(4, 5))), np.array([0, 2, 1, 0])
  cosines = rows @ vectors.T
  expected = [
    0.5 * abs(1 - cosines[i, y[i]])
    + 0.5
    * sum(
      abs(vectors[y[i]] @ vectors[k] - cosines[i, k])
      for k in range(3)
      if k != y[i]
    )
    for i in range(4)
  ]
  found = cleaning.apart(np.float32(vectors), cosines, y)
  np.testing.assert_allclose(found, expected, atol=1e-6)
