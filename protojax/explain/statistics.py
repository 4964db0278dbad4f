"""Statistics of the global scores over the prototypes of a model.

`summarise` describes the scores of one split, `agreement` compares two splits.
Intervals come from resampling the images, which are the random sample. The
prototypes are not independent, because all are scored on the same images. A
statistic that cannot be computed (too few prototypes, no spread, no score) is
nan, without a warning.
"""

from collections.abc import Iterable
import dataclasses
from typing import Any
import warnings

from jaxtyping import Float, Int
import numpy as np

# SciPy's p is accurate up to so many prototypes, its W also above (Royston,
# 1995).
_SHAPIRO_LIMIT = 5000


@dataclasses.dataclass(frozen=True)
class SplitScores:
  """Global scores of the living prototypes over one set of images.

  Attributes:
    modifications: names of axis m.
    prototypes: the number of each prototype.
    importance: phi_global; nan if no image is similar to the prototype.
    similarity: the weighted mean of g.
    replicates: phi_global of r Poisson-bootstrap resamples of the images; with
      r = 0 there are no intervals.
  """

  modifications: tuple[str, ...]
  prototypes: Int[np.ndarray, " p"]
  importance: Float[np.ndarray, "m p"]
  similarity: Float[np.ndarray, " p"]
  replicates: Float[np.ndarray, "r m p"]


@dataclasses.dataclass(frozen=True)
class Summary:
  """One modification over the prototypes of one split.

  Attributes:
    modification: its name.
    prototypes: how many have a score; only these count below.
    missing: how many have none, because no image is similar to them.
    mean: of phi_global.
    low, high: confidence interval of the mean, by resampling images.
    std: standard deviation over prototypes (ddof=1); nan for one prototype.
    relative: mean of phi_global / g, over the prototypes with g > 0.
    minimum, maximum: the extreme scores.
    smallest, largest: numbers of the prototypes that have them, the first of
      equals; -1 for none.
    shapiro_w, shapiro_p: Shapiro-Wilk test of normality; nan for fewer than 3
      prototypes or equal scores, p also for more than 5000. With 2000
      prototypes p is small for any deviation: use W and the histogram.
  """

  modification: str
  prototypes: int
  missing: int
  mean: float
  low: float
  high: float
  std: float
  relative: float
  minimum: float
  maximum: float
  smallest: int
  largest: int
  shapiro_w: float
  shapiro_p: float


def summarise(scored: SplitScores, level: float = 0.95) -> tuple[Summary, ...]:
  """One `Summary` for each modification; `level` is that of the intervals."""
  mean = mean_over_prototypes(scored.importance)
  low, high = interval(mean_over_prototypes(scored.replicates), level)
  positive = np.where(scored.similarity > 0, scored.similarity, np.nan)
  relative = mean_over_prototypes(scored.importance / positive[None])
  means = (mean, low, high, relative)
  return tuple(
    _summary(scored, m, *(float(x[m]) for x in means))
    for m in range(len(scored.modifications))
  )


def interval(
  replicates: Float[np.ndarray, "r *n"], level: float = 0.95
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
  """Percentile confidence interval of a bootstrap: its two ends.

  Replicates without a score (nan: no image of the draw is similar to the
  prototype) are left out. If all are, or r = 0, both ends are nan.
  """
  unknown = np.isnan(replicates).all(axis=0)
  if not len(replicates):
    return np.full(unknown.shape, np.nan), np.full(unknown.shape, np.nan)
  edges = ((1 - level) / 2, (1 + level) / 2)
  # NumPy warns about columns that are all nan.
  known = np.where(unknown, 0.0, replicates)
  low, high = np.nanquantile(known, edges, axis=0)
  return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def rows(split: str, records: Iterable[Any]) -> list[dict[str, Any]]:
  """Rows of `statistics.csv`: modification, split, statistic, value.

  Args:
    split: of the records: "train", "test", or "train against test".
    records: dataclasses with a field `modification`; every other field is a
      statistic and becomes a row.
  """
  return [
    {
      "modification": record.modification,
      "split": split,
      "statistic": field.name,
      "value": getattr(record, field.name),
    }
    for record in records
    for field in dataclasses.fields(record)
    if field.name != "modification"
  ]


def mean_over_prototypes(
  scores: Float[np.ndarray, "*n m p"],
) -> Float[np.ndarray, "*n m"]:
  """Mean of the known scores; nan if all are nan."""
  known = ~np.isnan(scores)
  count = np.sum(known, axis=-1)
  total = np.sum(np.where(known, scores, 0.0), axis=-1)
  return total / np.where(count > 0, count, np.nan)


def std(scores: Float[np.ndarray, " p"]) -> float:
  """Standard deviation (ddof=1); exactly 0 for equal scores."""
  if len(scores) < 2:
    return float("nan")
  # The mean of equal numbers may differ from them by a rounding.
  return float(np.std(scores, ddof=1)) if np.ptp(scores) else 0.0


def _summary(
  scored: SplitScores,
  m: int,
  mean: float,
  low: float,
  high: float,
  relative: float,
) -> Summary:
  known = ~np.isnan(scored.importance[m])
  scores, numbers = scored.importance[m, known], scored.prototypes[known]
  lowest, highest, smallest, largest = float("nan"), float("nan"), -1, -1
  if len(scores):
    lowest, highest = float(scores.min()), float(scores.max())
    smallest = int(numbers[scores.argmin()])
    largest = int(numbers[scores.argmax()])
  w, p = _shapiro(scores)
  return Summary(
    modification=scored.modifications[m],
    prototypes=len(scores),
    missing=len(known) - len(scores),
    mean=mean,
    low=low,
    high=high,
    std=std(scores),
    relative=relative,
    minimum=lowest,
    maximum=highest,
    smallest=smallest,
    largest=largest,
    shapiro_w=w,
    shapiro_p=p,
  )


def _shapiro(scores: Float[np.ndarray, " p"]) -> tuple[float, float]:
  if len(scores) < 3 or not np.ptp(scores):
    return float("nan"), float("nan")
  from scipy import stats  # Here: it takes half a second.

  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about a p that is not used
    found = stats.shapiro(scores)
  p = found.pvalue if len(scores) <= _SHAPIRO_LIMIT else np.nan
  return float(found.statistic), float(p)
