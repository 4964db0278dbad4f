"""Agreement: whether explanations over training images hold for new images.

Compares the global scores of two splits, prototype by prototype. The reference
implementation reports a Welch test. If it finds no difference, this does not
prove that there is none; the interval of the paired difference and the test of
equivalence do.
"""

import dataclasses

from jaxtyping import Bool, Float
import numpy as np

from protojax.explain import statistics
from protojax.explain.statistics import SplitScores
from protojax.modify.modification import CHARACTERISTICS


@dataclasses.dataclass(frozen=True)
class Comparison:
  """One modification in two splits, over the prototypes scored in both.

  Attributes:
    modification: its name.
    prototypes: how many have a score in both splits.
    difference: mean over prototypes of phi_global, first split minus second.
    low, high: confidence interval of the difference, by resampling the images
      of both splits; nan without replicates.
    welch_t, welch_df, welch_p: Welch's t-test of equal means, unpaired, as the
      reference has it; nan where neither split has any spread.
    margin: the largest difference that counts as none: a share of the standard
      deviation over prototypes, pooled over the splits.
    tost_p: p for a true difference beyond the margin: the larger p of two
      one-sided t-tests, paired by prototype (Schuirmann, 1987). If all
      prototypes differ by the same number, it is 0 within the margin, 1 beyond
      it, and nan at the margin itself.
    pearson, spearman: correlation of the splits; nan without any spread.
  """

  modification: str
  prototypes: int
  difference: float
  low: float
  high: float
  welch_t: float
  welch_df: float
  welch_p: float
  margin: float
  tost_p: float
  pearson: float
  spearman: float


@dataclasses.dataclass(frozen=True)
class Overall:
  """All characteristics in two splits together.

  Attributes:
    modification: "all".
    prototypes: how many have all scores in both splits.
    same_first: share of them whose first characteristic, the one of the
      largest score, is the same in both splits (top-1 agreement).
    pearson, spearman: correlation over all scores of all these prototypes.
  """

  modification: str
  prototypes: int
  same_first: float
  pearson: float
  spearman: float


def compare(
  first: SplitScores,
  second: SplitScores,
  *,
  level: float = 0.95,
  margin: float = 0.1,
) -> tuple[Comparison, ...]:
  """One `Comparison` for each modification.

  Args:
    first: scores over training images, for example.
    second: scores of the same prototypes over other images; its replicates are
      of other draws.
    level: of the intervals.
    margin: in standard deviations over prototypes.

  Raises:
    ValueError: the splits are not of the same modifications and prototypes.
  """
  _check_same(first, second)
  mean = statistics.mean_over_prototypes
  difference = mean(first.importance - second.importance)
  # The two bootstraps are independent, so their draws can be paired in any way.
  draws = (first.replicates, second.replicates)
  count = min(map(len, draws))
  moved = mean(draws[0][:count] - draws[1][:count])
  means = (difference, *statistics.interval(moved, level))
  return tuple(
    _compare(first, second, m, margin, *(float(x[m]) for x in means))
    for m in range(len(first.modifications))
  )


def overall(first: SplitScores, second: SplitScores) -> Overall:
  """Compares the rankings of the characteristics.

  Control and brightness are no characteristics and are left out.

  Args:
    first: scores over training images, for example.
    second: scores of the same prototypes over other images.

  Raises:
    ValueError: the splits are not of the same modifications and prototypes.
  """
  _check_same(first, second)
  ranked = np.isin(first.modifications, CHARACTERISTICS)
  a, b = first.importance[ranked], second.importance[ranked]
  both = _known(a, b).all(axis=0) & ranked.any()
  a, b = a[:, both], b[:, both]
  same = float("nan")
  if both.any():
    same = float(np.mean(a.argmax(axis=0) == b.argmax(axis=0)))
  return Overall(
    modification="all",
    prototypes=int(both.sum()),
    same_first=same,
    pearson=pearson(a.ravel(), b.ravel()),
    spearman=spearman(a.ravel(), b.ravel()),
  )


def pearson(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
  """Correlation; nan where one side has fewer than 2 different numbers."""
  if len(a) < 2 or not (np.ptp(a) and np.ptp(b)):
    return float("nan")
  return float(np.corrcoef(a, b)[0, 1])


def spearman(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
  """Correlation of the ranks, which equal numbers share; nan as `pearson`."""
  from scipy import stats  # Here: it takes half a second.

  return pearson(stats.rankdata(a), stats.rankdata(b))


def _check_same(first: SplitScores, second: SplitScores) -> None:
  if first.modifications != second.modifications:
    raise ValueError(
      f"modifications {first.modifications} and {second.modifications} cannot"
      " be compared; score both splits with the same ones"
    )
  if not np.array_equal(first.prototypes, second.prototypes):
    raise ValueError(
      f"{len(first.prototypes)} and {len(second.prototypes)} prototypes are not"
      " the same ones; score both splits with the same state"
    )


def _compare(
  first: SplitScores,
  second: SplitScores,
  m: int,
  margin: float,
  difference: float,
  low: float,
  high: float,
) -> Comparison:
  both = _known(first.importance[m], second.importance[m])
  a, b = first.importance[m, both], second.importance[m, both]
  t, df, p = _welch(a, b)
  allowed = margin * np.hypot(statistics.std(a), statistics.std(b)) / np.sqrt(2)
  return Comparison(
    modification=first.modifications[m],
    prototypes=len(a),
    difference=difference,
    low=low,
    high=high,
    welch_t=t,
    welch_df=df,
    welch_p=p,
    margin=float(allowed),
    tost_p=_tost(a - b, allowed),
    pearson=pearson(a, b),
    spearman=spearman(a, b),
  )


def _known(a: np.ndarray, b: np.ndarray) -> Bool[np.ndarray, "*n"]:
  return ~(np.isnan(a) | np.isnan(b))


def _welch(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
  """t, degrees of freedom and two-sided p, for unequal variances."""
  if len(a) < 2 or not (np.ptp(a) or np.ptp(b)):
    return float("nan"), float("nan"), float("nan")
  from scipy import special  # Here: a run that trains needs none of it.

  u, v = statistics.std(a) ** 2 / len(a), statistics.std(b) ** 2 / len(b)
  t = (np.mean(a) - np.mean(b)) / np.sqrt(u + v)
  df = (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1))
  return float(t), float(df), float(2 * special.stdtr(df, -abs(t)))


def _tost(differences: np.ndarray, margin: float) -> float:
  if len(differences) < 2:
    return float("nan")
  from scipy import special  # Here, as in `_welch`.

  mean = np.mean(differences)
  error = statistics.std(differences) / np.sqrt(len(differences))
  with np.errstate(divide="ignore", invalid="ignore"):  # no spread: +-inf, nan
    above, below = (mean + margin) / error, (margin - mean) / error
  return float(special.stdtr(len(differences) - 1, -np.minimum(above, below)))
