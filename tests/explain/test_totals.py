"""Sums, bootstrap and histogram of a stream, against tables of all scores."""

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.explain import totals
from protojax.explain.importance import Local
from protojax.explain.totals import Replicates, Sums
from protojax.prototypes import similarity as similarities

IMAGES, M, P = 40, 3, 5
MASK = np.ones(IMAGES, bool)


def _local(name="log", seed=0):
  rng = np.random.default_rng(seed)
  activation = similarities.load(name).activation
  distances = rng.uniform(0.05, 1.5, (1 + M, IMAGES, P)).astype(np.float32)
  g, *copies = np.asarray(activation(distances))
  delta = np.stack([g - copy for copy in copies], axis=1)
  return Local(g, np.zeros((IMAGES, P), np.int32), delta), distances


@pytest.mark.parametrize("name", ["log", "linear", "cosine"])
def test_relative_and_distance_are_what_they_say(name):
  local, distances = _local(name)
  chosen = similarities.load(name)
  weight = np.asarray(chosen.weight(local.similarity, 128), np.float64)
  sums = jax.jit(Sums.of, static_argnums=3)(local, weight, MASK, chosen)
  scores = sums.scores(Replicates.empty(0, M, P))
  shares = local.delta / np.abs(local.similarity)[:, None]
  grown = np.moveaxis(distances[1:] - distances[:1], 0, 1)
  for found, terms in ((scores.relative, shares), (scores.distance, grown)):
    expected = (terms * weight[:, None]).sum(0) / weight.sum(0)
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_replicates_are_scores_of_images_drawn_again():
  local, _ = _local()
  index = np.arange(IMAGES, dtype=np.int32)
  drawn = np.asarray(totals.draws(index, MASK, 7))
  add = jax.jit(Replicates.add)
  found = Replicates.empty(7, M, P)
  for rows in np.array_split(index, 5):
    part = Local(*(x[rows] for x in local))
    found = add(found, part, part.similarity, drawn[rows])
  for r, replicate in enumerate(found.importance()):
    again = np.repeat(index, drawn[:, r].astype(int))
    g, delta = local.similarity[again], local.delta[again]
    expected = (delta * g[:, None]).sum(0) / g.sum(0)
    assert_allclose(replicate, expected, rtol=1e-4, atol=1e-5)


def test_draws_are_poisson_and_know_the_image_alone():
  index = np.arange(500, dtype=np.int32)
  mask = np.ones(500, bool)
  drawn = np.asarray(totals.draws(index, mask, 200))
  share = [np.mean(drawn == n) for n in range(4)]
  assert_allclose(share, np.exp(-1) / np.array([1, 1, 2, 6]), atol=0.005)
  # Draws of images are independent, and so are replicates.
  assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.15
  assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.2
  turned = np.asarray(totals.draws(index[::-1], mask, 200))
  assert_array_equal(turned[::-1], drawn)
  padded = totals.draws(index, index < 450, 200)
  assert not np.asarray(padded)[450:].any()


def test_bootstrap_is_as_wide_as_draws_of_new_images():
  # The truth comes from other images of the same kind, not from a formula.
  others = []
  for seed in range(1, 120):
    g, delta = _local(seed=seed)[0][::2]
    others.append((delta * g[:, None]).sum(0) / g.sum(0))
  spread = np.std(others, axis=0)
  local, _ = _local()
  drawn = totals.draws(np.arange(IMAGES, dtype=np.int32), MASK, 200)
  found = Replicates.empty(200, M, P).add(local, local.similarity, drawn)
  ratio = np.std(found.importance(), axis=0) / spread
  assert 0.8 < ratio.mean() < 1.2


def test_histogram_counts_what_is_counted():
  local, _ = _local()
  span = similarities.load("log").span(128)
  counted = np.random.default_rng(1).random((IMAGES, P)) < 0.5
  found = np.asarray(totals.counts(local, counted, span))
  edges = totals.edges(span)
  for m in range(M):
    expected, _ = np.histogram(local.delta[:, m][counted], edges)
    # A score on an edge may fall on either side of it in float32.
    assert np.abs(np.cumsum(found[m] - expected)).max() <= 1
    assert found[m].sum() == counted.sum()
  beyond = Local(local.similarity, local.place, local.delta * 0 + 99)
  assert totals.counts(beyond, counted, span)[0, -1] == counted.sum()
