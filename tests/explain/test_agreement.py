"""Train against test: formulas written out, SciPy, and planted differences."""

import numpy as np
from numpy.testing import assert_allclose
import pytest
from scipy import stats

from protojax.explain import agreement
from protojax.explain.statistics import SplitScores
from protojax.modify.modification import CHARACTERISTICS

NAMES = ("identity", *CHARACTERISTICS)


def _split(importance, replicates=None, names=NAMES):
  if replicates is None:
    replicates = np.empty((0, *importance.shape))
  return SplitScores(
    modifications=names,
    prototypes=np.arange(importance.shape[1]),
    importance=importance,
    similarity=np.ones(importance.shape[1]),
    replicates=replicates,
  )


@pytest.fixture
def pair():
  """Scores of 60 prototypes in two splits, the control 0, some missing."""
  generator = np.random.default_rng(0)
  train = generator.gamma(2.0, size=(6, 60))
  test = train + generator.normal(scale=0.3, size=train.shape)
  train[0] = test[0] = 0.0
  train[:, 3] = test[:, 9] = np.nan
  return train, test


def test_statistics_equal_scipy_and_the_formulas(pair):
  train, test = pair
  found = agreement.compare(_split(train), _split(test))
  assert [c.modification for c in found] == list(NAMES)
  kept = ~np.isin(np.arange(60), (3, 9))
  for one, a, b in zip(found[1:], train[1:, kept], test[1:, kept], strict=True):
    assert one.prototypes == 58
    assert_allclose(one.difference, np.mean(a - b))
    u, v = np.var(a, ddof=1) / 58, np.var(b, ddof=1) / 58
    df = (u + v) ** 2 / (u**2 / 57 + v**2 / 57)
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert_allclose(one.welch_t, (a.mean() - b.mean()) / np.sqrt(u + v))
    assert_allclose(one.welch_df, df)
    assert_allclose(
      (one.welch_t, one.welch_df, one.welch_p),
      (welch.statistic, welch.df, welch.pvalue),
    )
    assert_allclose(one.margin, 0.1 * np.sqrt(58 * (u + v) / 2))
    above = stats.ttest_1samp(a - b, -one.margin, alternative="greater")
    below = stats.ttest_1samp(a - b, one.margin, alternative="less")
    assert_allclose(one.tost_p, max(above.pvalue, below.pvalue))
    assert_allclose(one.pearson, np.corrcoef(a, b)[0, 1])
    assert_allclose(one.pearson, stats.pearsonr(a, b).statistic)
    assert_allclose(one.spearman, stats.spearmanr(a, b).statistic)


def test_splits_of_other_sizes_of_spread_have_welch_freedom():
  generator = np.random.default_rng(1)
  a, b = generator.normal(size=20), generator.normal(scale=9, size=20)
  one = agreement.compare(
    _split(a[None], names=("hue",)), _split(b[None], names=("hue",))
  )[0]
  assert one.welch_df < 20
  assert_allclose(one.welch_df, stats.ttest_ind(a, b, equal_var=False).df)


def test_a_split_agrees_with_itself(pair):
  train, _ = pair
  for one in agreement.compare(_split(train), _split(train))[1:]:
    assert (one.difference, one.welch_t, one.welch_p) == (0.0, 0.0, 1.0)
    assert one.tost_p == 0.0
    assert_allclose((one.pearson, one.spearman), 1.0)
  whole = agreement.overall(_split(train), _split(train))
  assert (whole.prototypes, whole.same_first) == (59, 1.0)
  assert_allclose((whole.pearson, whole.spearman), 1.0)


def test_what_cannot_be_computed_is_nan_and_no_warning(pair):
  train, test = pair
  control = agreement.compare(_split(train), _split(test))[0]
  assert control.difference == control.margin == 0.0
  for kept in ([], [0], [3]):  # none, one, and one without a score
    one = agreement.compare(_split(train[:, kept]), _split(test[:, kept]))[1]
    assert one.prototypes == (kept == [0])
    for name in ("welch_t", "welch_df", "welch_p", "tost_p", "pearson"):
      assert np.isnan(getattr(one, name))
      assert np.isnan(getattr(control, name))
    assert np.isnan([one.low, one.high, one.spearman, one.margin]).all()
  nothing = agreement.overall(_split(train[:, [3]]), _split(test[:, [3]]))
  assert nothing.prototypes == 0
  assert np.isnan([nothing.same_first, nothing.pearson]).all()
  few = agreement.overall(*(_split(x[:1], names=("red",)) for x in pair))
  assert few.prototypes == 0
  assert np.isnan([few.same_first, few.pearson]).all()


def test_the_same_shift_of_all_is_decided_by_the_margin():
  spread = np.arange(8.0)[None]
  for shift, p in ((0.125, 0.0), (-0.125, 0.0), (0.5, 1.0), (-0.5, 1.0)):
    one = agreement.compare(
      _split(spread + shift, names=("hue",)), _split(spread, names=("hue",))
    )[0]
    assert_allclose(one.margin, 0.1 * np.std(spread, ddof=1))
    assert one.tost_p == p


def _measured(generator, images, shift, replicates=300, prototypes=30):
  """Scores of prototypes over images that all prototypes are scored on.

  An image moves the scores of all prototypes together.
  """
  noise = generator.normal(size=images)
  means = np.linspace(0, 2, prototypes) + shift
  counts = generator.poisson(1.0, (replicates, images))
  moved = counts @ noise / counts.sum(axis=1)
  return _split(
    means[None] + noise.mean(),
    means[None, None] + moved[:, None, None],
    names=("hue",),
  )


def test_a_planted_difference_is_found_and_covered():
  generator = np.random.default_rng(0)
  covered, blamed, runs = 0, 0, 200
  for _ in range(runs):
    first = _measured(generator, 60, shift=0.3)
    second = _measured(generator, 40, shift=0.0, replicates=250)
    one = agreement.compare(first, second, level=0.9)[0]
    assert one.low < one.difference < one.high
    covered += one.low < 0.3 < one.high
    same = agreement.compare(second, _measured(generator, 60, shift=0.0))[0]
    # If all prototypes move together, the paired t-tests are certain.
    assert min(one.tost_p, 1 - one.tost_p) < 1e-6
    blamed += not same.low < 0 < same.high
  assert_allclose(covered / runs, 0.9, atol=0.06)
  assert blamed / runs < 0.11
  large = agreement.compare(
    _measured(generator, 4000, shift=0.3), _measured(generator, 4000, shift=0.0)
  )[0]
  assert 0 < large.low < 0.3 < large.high


def test_many_images_show_that_nothing_differs():
  generator = np.random.default_rng(0)
  first, second = (_measured(generator, 20_000, 0.0, 100) for _ in range(2))
  one = agreement.compare(first, second)[0]
  assert -one.margin < one.low < one.high < one.margin
  few = agreement.compare(
    _measured(generator, 20, shift=0.0), _measured(generator, 20, shift=0.0)
  )[0]
  assert not -few.margin < few.low < few.high < few.margin


def test_first_characteristic_leaves_out_control_and_brightness():
  names = ("identity", "hue", "contrast", "brightness")
  first = np.array([[9.0] * 4, [3, 1, 3, np.nan], [1, 3, 1, 1], [9] * 4])
  second = np.array([[9.0] * 4, [2, 1, 1, 2], [1, 2, 4, 1], [0] * 4])
  found = agreement.overall(
    _split(first, names=names), _split(second, names=names)
  )
  assert found.prototypes == 3
  assert_allclose(found.same_first, 2 / 3)
  a, b = (x[1:3, :3].ravel() for x in (first, second))
  assert_allclose(found.pearson, np.corrcoef(a, b)[0, 1])
  assert_allclose(found.spearman, stats.spearmanr(a, b).statistic)


def test_only_the_same_scores_are_compared(pair):
  train, test = pair
  with pytest.raises(ValueError, match="score both splits with the same ones"):
    agreement.compare(_split(train), _split(test[:5], names=NAMES[:5]))
  with pytest.raises(ValueError, match="60 and 59 prototypes are not the same"):
    agreement.overall(_split(train), _split(test[:, 1:]))
