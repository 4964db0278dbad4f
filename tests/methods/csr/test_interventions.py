import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.interact.importance_map import importance_map
from protojax.methods.csr import interventions

_NONE = np.zeros((0, 4), np.float32)
_GRID = (3, 4)
importance_map = jax.jit(importance_map, static_argnums=3)
predict_with = jax.jit(interventions.predict_with)
pooled = jax.jit(interventions.pooled)


def boxes(*rows):
  return np.array(rows, np.float32)


def readout(rng, p=6, d=5, k=3, concepts=2):
  concept_of = np.arange(p, dtype=np.int32) % concepts
  return interventions.Readout(
    prototypes=rng.normal(size=(p, d)).astype(np.float32),
    concept_of=concept_of,
    alive=np.arange(p) != 3,
    weight=rng.normal(size=(k, p)).astype(np.float32),
    bias=rng.normal(size=k).astype(np.float32),
    absent=np.zeros(p, np.float32),
  )


def features(rng, d=5):
  return rng.normal(size=(*_GRID, d)).astype(np.float32)


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def naive(embedded, r, importance, rejected):
  """Eqs. 12-13, one prototype after the other."""
  scores = np.zeros(len(r.prototypes))
  for j, prototype in enumerate(unit(r.prototypes)):
    concept = r.concept_of[j]
    if not r.alive[j]:
      continue
    similar = np.maximum(unit(embedded) @ prototype, 0) * importance
    scores[j] = r.absent[j] if rejected[concept] else similar.max()
  return scores, r.weight @ scores + r.bias


def test_boxes_cover_the_cells_whose_centres_they_hold():
  found = importance_map(boxes((0, 0, 0.5, 0.5)), _NONE, 0.25, _GRID)
  # Centres of rows at 1/6, 1/2, 5/6; the second one is just outside.
  assert_allclose(
    found, [[1, 1, 0.25, 0.25], [0.25] * 4, [0.25] * 4], rtol=1e-6
  )


def test_a_box_smaller_than_a_cell_covers_the_cell_it_lies_in():
  found = importance_map(boxes((0.7, 0.3, 0.72, 0.31)), _NONE, 0.0, _GRID)
  assert_array_equal(np.argwhere(np.asarray(found)), [[2, 1]])


def test_negative_boxes_win_and_say_nothing_of_the_rest():
  everything, corner = boxes((0, 0, 1, 1)), boxes((0, 0, 0.4, 0.3))
  expected = np.ones(_GRID)
  expected[0, 0] = 0
  for positive in (everything, _NONE):
    found = importance_map(positive, corner, 0.5, _GRID)
    assert_array_equal(found, expected)


def test_without_boxes_everything_counts():
  padding = np.zeros((2, 4), np.float32)
  for none in (_NONE, padding):
    found = importance_map(none, none, 0.3, _GRID)
    assert_array_equal(found, np.ones(_GRID))


@pytest.mark.parametrize("rejected", [(0, 0), (1, 0), (1, 1)])
def test_the_answer_equals_the_formula(rejected):
  rng = np.random.default_rng(0)
  r = readout(rng).replace(absent=rng.random(6).astype(np.float32))
  embedded, importance = features(rng), rng.random(_GRID).astype(np.float32)
  rejected = np.array(rejected, bool)
  found = predict_with(embedded, r, importance, rejected)
  scores, logits = naive(embedded, r, importance, rejected)
  assert_allclose(found.logits, logits, atol=1e-5)
  points = r.weight[logits.argmax()] * scores
  for concept in range(2):
    own = (r.concept_of == concept) & r.alive
    assert_allclose(found.contributions[concept], points[own].sum(), atol=1e-5)
    assert_allclose(found.concept_scores[concept], scores[own].max(), atol=1e-6)
    best = np.flatnonzero(own)[scores[own].argmax()]
    assert found.best[concept] == best
    similar = unit(embedded) @ unit(r.prototypes[best])
    assert_allclose(
      found.maps[..., concept], np.maximum(similar, 0) * importance, atol=1e-6
    )
  # Points of all concepts and the bias make up the logit.
  assert_allclose(
    found.contributions.sum() + r.bias[logits.argmax()], logits.max(), atol=1e-5
  )


def test_importance_raises_scores_only():
  rng = np.random.default_rng(1)
  embedded, r = features(rng), readout(rng)
  less = rng.random(_GRID).astype(np.float32)
  more = np.minimum(less + rng.random(_GRID), 1).astype(np.float32)
  low, high = (pooled(embedded, r.prototypes, a) for a in (less, more))
  assert np.all(np.asarray(high) >= np.asarray(low))
  dark = pooled(embedded, r.prototypes, np.zeros(_GRID, "f4"))
  assert_array_equal(dark, np.zeros(6))


def test_rejecting_everything_leaves_the_bias():
  rng = np.random.default_rng(2)
  r = readout(rng)
  found = predict_with(features(rng), r, np.ones(_GRID, "f4"), np.ones(2, bool))
  assert_allclose(found.logits, r.bias, atol=1e-7)
  assert_array_equal(found.contributions, np.zeros(2))


def test_permuted_prototypes_say_the_same():
  rng = np.random.default_rng(3)
  r, order = readout(rng), rng.permutation(6)
  permuted = interventions.Readout(
    r.prototypes[order],
    r.concept_of[order],
    r.alive[order],
    r.weight[:, order],
    r.bias,
    r.absent[order],
  )
  embedded, ones = features(rng), np.ones(_GRID, "f4")
  none = np.zeros(2, bool)
  a = predict_with(embedded, r, ones, none)
  b = predict_with(embedded, permuted, ones, none)
  for x, y in ((a.logits, b.logits), (a.maps, b.maps)):
    assert_allclose(x, y, atol=1e-6)


def test_many_questions_are_asked_at_once():
  rng = np.random.default_rng(4)
  embedded, r = features(rng), readout(rng)
  importance = rng.random((5, *_GRID)).astype(np.float32)
  rejected = rng.random((5, 2)) < 0.5
  ask = jax.vmap(interventions.predict_with, (None, None, 0, 0))
  found = jax.jit(ask)(jnp.asarray(embedded), r, importance, rejected)
  for row in range(5):
    _, logits = naive(embedded, r, importance[row], rejected[row])
    assert_allclose(found.logits[row], logits, atol=1e-5)
