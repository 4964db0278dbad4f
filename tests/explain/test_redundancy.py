"""Redundant prototypes are found, and merging duplicates keeps the logits."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.explain import redundancy
from protojax.explain.redundancy import Correlation, Group, Thresholds
from protojax.prototypes import head

NUMBERS = np.array([2, 3, 5, 7, 11, 13])
FIRE = np.random.default_rng(0).normal(size=(200, 6))


def _found(thresholds=None, **changed):
  """Groups of six unrelated prototypes, unless something is changed."""
  generator = np.random.default_rng(1)
  settings = {
    "numbers": NUMBERS,
    "class_of": np.array([0, 0, 0, 1, 1, 1]),
    "image": np.arange(6),
    "cell": np.zeros(6, int),
    "prototypes": generator.uniform(size=(6, 8)),
    "correlation": np.corrcoef(FIRE.T),
    "importance": generator.normal(size=(5, 6)),
  } | changed
  return redundancy.groups(**settings, thresholds=thresholds or Thresholds())


def _alike(*positions, near=True, fire=True, explained=True):
  """Makes prototypes redundant, in all respects or in some."""
  generator = np.random.default_rng(2)
  prototypes = generator.uniform(size=(6, 8))
  similarity, importance = FIRE.copy(), generator.normal(size=(5, 6))
  first, *others = positions
  for j in others:
    if near:
      prototypes[j] = prototypes[first] + 0.01
    if fire:
      similarity[:, j] = similarity[:, first] + 0.1 * FIRE[:, j]
    if explained:
      importance[:, j] = importance[:, first] + 0.1
  return {
    "prototypes": prototypes,
    "correlation": np.corrcoef(similarity.T),
    "importance": importance,
  }


def test_unrelated_prototypes_have_no_group():
  assert _found() == ()


def test_the_same_patch_is_exact_within_its_class_only():
  image, cell = np.array([4, 4, 4, 4, 4, -1]), np.array([2, 3, 2, 2, 2, 2])
  found = _found(image=image, cell=cell)
  assert [(g.kind, g.prototypes) for g in found] == [
    ("exact", (2, 5)),
    ("exact", (7, 11)),
  ]


def test_never_pushed_is_not_the_same_patch():
  assert _found(image=np.full(6, -1)) == ()


def test_near_and_explained_alike_is_redundant():
  (group,) = _found(**_alike(1, 2))
  assert (group.kind, group.prototypes) == ("near", (3, 5))
  assert 0 < group.distance < 0.1
  assert 0.95 < group.correlation < 1
  assert 0 < group.explanation < 1


@pytest.mark.parametrize("missing", ["near", "fire", "explained"])
def test_near_takes_all_three(missing):
  assert _found(**_alike(1, 2, **{missing: False})) == ()


def test_near_of_another_class_is_not_redundant():
  assert _found(**_alike(1, 3)) == ()


def test_thresholds_are_what_they_say():
  (group,) = _found(**_alike(1, 2))
  for name in ("distance", "explanation", "correlation"):
    step = -1e-9 if name == "correlation" else 1e-9
    limit = getattr(group, name)
    assert _found(Thresholds(**{name: limit + step}), **_alike(1, 2))
    assert not _found(Thresholds(**{name: limit - step}), **_alike(1, 2))


def test_a_group_of_both_kinds_is_near():
  image = np.array([0, 1, 1, 3, 4, 5])
  (group,) = _found(image=image, **_alike(0, 1))
  assert (group.kind, group.prototypes) == ("near", (2, 3, 5))
  # The ends of the chain are no nearer than others.
  assert group.distance > 0.1


def test_prototypes_without_scores_are_exact_duplicates_at_most():
  alike = _alike(1, 2)
  alike["importance"][:, 2] = np.nan
  assert _found(**alike) == ()
  (group,) = _found(image=np.array([0, 1, 1, 3, 4, 5]), **alike)
  assert group.kind == "exact"
  assert np.isnan(group.explanation)


def test_explanations_are_compared_in_standard_deviations():
  scores = np.random.default_rng(0).normal(size=(5, 30))
  scores[3] = 0.1
  units = np.array([1, 10, 0.1, 1, 5])
  found = redundancy.explanation_distances(scores * units[:, None] + 3)
  z = np.delete(scores, 3, axis=0)
  z = (z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True)
  expected = np.linalg.norm(z[:, :, None] - z[:, None], axis=0)
  assert_allclose(found, expected, atol=1e-9)
  scores[0, 4] = np.nan
  found = redundancy.explanation_distances(scores)
  assert np.isnan(np.delete(found[4], 4)).all()
  assert not np.isnan(np.delete(np.delete(found, 4, 0), 4, 1)).any()


def test_distances_have_no_unit():
  prototypes = np.random.default_rng(0).normal(size=(9, 4))
  found = redundancy.relative_distances(prototypes)
  naive = np.linalg.norm(prototypes[:, None] - prototypes[None], axis=-1)
  scale = np.sqrt(np.mean(naive[np.triu_indices(9, 1)] ** 2))
  assert_allclose(found, naive / scale)
  assert_allclose(redundancy.relative_distances(7 * prototypes), found)
  assert_array_equal(redundancy.relative_distances(np.ones((3, 4))), 0.0)
  assert_array_equal(redundancy.relative_distances(np.ones((1, 4))), [[0.0]])


@pytest.mark.parametrize("sizes", [(50,), (1, 49), (20, 0, 1, 29)])
def test_streamed_correlation_equals_numpy(sizes):
  # Far from 0 with little spread, where raw products would cancel.
  values = np.random.default_rng(0).normal(size=(50, 7)) @ np.eye(7)
  values = (1e4 + values + values[:, :1]).astype(np.float32)
  values[:, 5] = 3.7
  streamed = Correlation(7)
  for part in np.split(values, np.cumsum(sizes)[:-1]):
    streamed.add(part)
  found = streamed.matrix()
  assert np.isnan(found[5]).all()
  assert np.isnan(found[:, 5]).all()
  kept = [0, 1, 2, 3, 4, 6]
  expected = np.corrcoef(values[:, kept].astype(float).T)
  assert_allclose(found[np.ix_(kept, kept)], expected, atol=1e-10)


def test_nothing_counted_correlates_with_nothing():
  assert np.isnan(Correlation(3).matrix()).all()


def test_merging_exact_duplicates_changes_no_logit():
  generator = np.random.default_rng(0)
  scores = generator.uniform(0, 9, (16, 8)).astype(np.float32)
  scores[:, [3, 5]] = scores[:, [1]]
  scores[:, 7] = scores[:, 6]
  weight = generator.normal(size=(4, 8)).astype(np.float32)
  alive = np.arange(8) != 2
  groups = (
    Group("exact", (1, 3, 5), 0.0, 1.0, 0.0),
    Group("exact", (6, 7), 0.0, 1.0, 0.0),
  )
  merged, living = redundancy.merge(weight, alive, groups)
  assert_array_equal(np.flatnonzero(living), [0, 1, 4, 6])
  assert merged.dtype == weight.dtype
  assert_allclose(
    head.logits(scores, merged, living),
    head.logits(scores, weight, alive),
    rtol=1e-5,
    atol=1e-4,
  )
  assert not merged[:, [3, 5, 7]].any()
  assert_array_equal(merged[:, [0, 4]], weight[:, [0, 4]])
  assert alive.sum() == 7  # what was given is as it was


def test_merging_near_duplicates_moves_logits_by_what_they_differ():
  generator = np.random.default_rng(0)
  scores = generator.uniform(0, 9, (16, 3)).astype(np.float32)
  weight = generator.normal(size=(4, 3)).astype(np.float32)
  alive = np.ones(3, bool)
  merged, living = redundancy.merge(
    weight, alive, [Group("near", (0, 2), 0.1, 0.99, 0.2)]
  )
  moved = head.logits(scores, weight, alive) - head.logits(
    scores, merged, living
  )
  expected = np.outer(scores[:, 2] - scores[:, 0], weight[:, 2])
  assert_allclose(moved, expected, atol=1e-4)


def test_two_thousand_prototypes_are_grouped():
  count = 2000
  generator = np.random.default_rng(0)
  image = np.arange(count)
  image[1000:1010] = image[:10]
  streamed = Correlation(count)
  streamed.add(generator.normal(size=(8, count)))
  found = redundancy.groups(
    numbers=np.arange(count),
    class_of=np.zeros(count, int),
    image=image,
    cell=np.zeros(count, int),
    prototypes=generator.uniform(size=(count, 16)),
    correlation=streamed.matrix(),
    importance=generator.normal(size=(5, count)),
  )
  assert [g.prototypes for g in found] == [(j, 1000 + j) for j in range(10)]
