"""Statistics of global scores against pandas, SciPy and simulation."""

import dataclasses

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pandas
import pytest
from scipy import stats

from protojax.explain import statistics
from protojax.explain.statistics import SplitScores

NAMES = ("identity", "contrast", "hue")


def _split(importance, replicates=None, similarity=None):
  m, p = importance.shape
  if replicates is None:
    replicates = np.empty((0, m, p))
  return SplitScores(
    modifications=NAMES[:m],
    prototypes=10 * np.arange(p),
    importance=importance,
    similarity=np.full(p, 2.0) if similarity is None else similarity,
    replicates=replicates,
  )


@pytest.fixture
def scores():
  found = np.random.default_rng(0).gamma(2.0, size=(3, 40))
  found[0] = 0.0  # the control
  found[:, 7] = np.nan  # no image is like it
  return found


def test_summary_equals_pandas_and_scipy(scores):
  similarity = np.random.default_rng(1).uniform(1, 9, 40)
  found = statistics.summarise(_split(scores, similarity=similarity))
  table = pandas.DataFrame(scores.T, columns=NAMES)
  assert [s.modification for s in found] == list(NAMES)
  for summary, name in zip(found, NAMES, strict=True):
    column = table[name]
    assert (summary.prototypes, summary.missing) == (39, 1)
    assert_allclose(summary.mean, column.mean())
    assert_allclose(summary.std, column.std(), atol=1e-300)
    assert_allclose(summary.relative, (column / similarity).mean())
    assert (summary.minimum, summary.maximum) == (column.min(), column.max())
    assert summary.smallest == 10 * column.idxmin()
    assert summary.largest == 10 * column.idxmax()
  for summary, name in zip(found[1:], NAMES[1:], strict=True):
    w, p = stats.shapiro(table[name].dropna())
    assert_allclose((summary.shapiro_w, summary.shapiro_p), (w, p))
  assert np.isnan([found[0].shapiro_w, found[0].shapiro_p]).all()


def test_what_cannot_be_computed_is_nan_and_no_warning(scores):
  of_none = statistics.summarise(_split(np.full((3, 2), np.nan)))[1]
  assert (of_none.prototypes, of_none.missing) == (0, 2)
  assert (of_none.smallest, of_none.largest) == (-1, -1)
  names = {"mean", "std", "low", "high", "relative", "minimum", "shapiro_w"}
  assert np.isnan([getattr(of_none, name) for name in names]).all()

  of_one = statistics.summarise(_split(scores[:, :1]))[2]
  assert of_one.mean == of_one.minimum == scores[2, 0]
  assert np.isnan([of_one.std, of_one.shapiro_w, of_one.low]).all()

  of_two = statistics.summarise(_split(scores[:, :2]))[2]
  assert of_two.std > 0
  assert np.isnan(of_two.shapiro_w)

  # Equal numbers whose mean differs by a rounding.
  of_equals = statistics.summarise(_split(np.full((1, 7), 0.1)))[0]
  assert of_equals.std == 0.0
  assert np.isnan(of_equals.shapiro_w)

  unlike = statistics.summarise(_split(scores, similarity=np.zeros(40)))[1]
  assert np.isnan(unlike.relative)

  many = np.random.default_rng(0).normal(size=(1, 5001))
  of_many = statistics.summarise(_split(many))[0]
  assert of_many.shapiro_w > 0.99
  assert np.isnan(of_many.shapiro_p)


def test_interval_is_of_percentiles_over_the_replicates_there_are():
  replicates = np.random.default_rng(0).normal(size=(50, 2, 3))
  replicates[:10, 0, 1] = np.nan
  replicates[:, 1, 2] = np.nan
  low, high = statistics.interval(replicates, 0.9)
  assert low.shape == high.shape == (2, 3)
  for place in np.ndindex(2, 3):
    some = replicates[(slice(None), *place)]
    some = some[~np.isnan(some)]
    expected = np.percentile(some, (5, 95)) if len(some) else (np.nan, np.nan)
    assert_allclose((low[place], high[place]), expected)


def test_without_replicates_there_is_no_interval(scores):
  for summary in statistics.summarise(_split(scores)):
    assert np.isnan([summary.low, summary.high]).all()
  low, high = statistics.interval(np.empty((0, 3, 40)))
  assert np.isnan(low).all()
  assert high.shape == (3, 40)


def _drawn(images, replicates, generator, prototypes=1):
  """phi_global of so many images, and of their Poisson resamples.

  An image's weight g and its score are correlated; the limit is E[phi g]/E[g].
  """
  g = generator.gamma(2.0, size=(images, prototypes))
  phi = g + generator.normal(size=g.shape)
  counts = generator.poisson(1.0, (replicates, images)).astype(float)
  once = np.ones((1, images))
  return tuple((w @ (phi * g) / (w @ g))[:, None] for w in (once, counts))


def test_intervals_cover_the_truth_as_often_as_they_say():
  # E[g²] / E[g] of a gamma of shape 2: its expectation plus 1.
  truth, runs = 3.0, 400
  generator = np.random.default_rng(0)
  scores, means = [], []
  for _ in range(runs):
    (one,), replicates = _drawn(100, 200, generator, prototypes=3)
    low, high = statistics.interval(replicates, 0.9)
    scores.append((low < truth) & (truth < high))
    summary = statistics.summarise(_split(one, replicates), level=0.9)[0]
    means.append(summary.low < truth < summary.high)
    assert summary.low < summary.mean < summary.high
  assert_allclose(np.mean(scores), 0.9, atol=0.04)
  assert_allclose(np.mean(means), 0.9, atol=0.05)


def test_rows_hold_every_statistic(scores):
  found = statistics.summarise(_split(scores))
  rows = statistics.rows("test", found)
  table = pandas.DataFrame(rows)
  assert list(table.columns) == ["modification", "split", "statistic", "value"]
  assert set(table.split) == {"test"}
  wide = table.pivot(
    index="modification", columns="statistic", values="value"
  ).loc[list(NAMES)]
  assert len(wide.columns) == len(dataclasses.fields(found[0])) - 1
  assert_array_equal(wide["mean"], [s.mean for s in found])
  assert_array_equal(wide["largest"], [s.largest for s in found])
