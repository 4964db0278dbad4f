"""Characteristics over all prototypes, for the pages of classes.

Means, histograms, train against test, extreme prototypes, and the tables of
`statistics` with an explanation beside every figure.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
)
from protojax.report import glossary, page, plots

_EXTREMES = 4
# Statistics that are whole numbers: counts, and numbers of prototypes.
_WHOLE = ("prototypes", "missing", "smallest", "largest")


@dataclasses.dataclass(frozen=True)
class Characteristic:
  """One characteristic over all prototypes alive.

  Attributes:
    name: of the modification.
    globally: histograms of phi_global by split.
    locally: histograms of phi_local by split.
    scatter: the first split against the last.
    highest: prototypes with the largest scores in the last split, and these.
    lowest: prototypes with the smallest scores, and these.
  """

  name: str
  globally: plots.Histograms | None
  locally: plots.Histograms | None
  scatter: plots.Scatter | None
  highest: tuple[tuple[int, float], ...]
  lowest: tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True)
class Figures:
  """A table of statistics; its columns are the characteristics.

  Attributes:
    title: of the table.
    columns: names of the modifications.
    lines: each statistic with its values as text.
  """

  title: str
  columns: tuple[str, ...]
  lines: tuple[tuple[glossary.Statistic, tuple[str, ...]], ...]


def means(alive: Sequence[GlobalExplanation]) -> dict[str, dict[str, float]]:
  """split -> modification -> mean over the prototypes that have a score."""
  columns: dict[str, list[Mapping[str, float]]] = {}
  for e in alive:
    for split, because in e.because.items():
      columns.setdefault(split, []).append(because.scores)
  return {
    split: {name: _mean([row[name] for row in rows]) for name in rows[0]}
    for split, rows in columns.items()
  }


def local_means(images: Sequence[LocalExplanation]) -> dict[str, float]:
  """modification -> mean over all rows of the scoring sheets."""
  rows = [row.because for e in images for row in e.evidence]
  names = rows[0] if rows else ()
  return {name: _mean([row[name] for row in rows]) for name in names}


def characteristic(
  name: str,
  alive: Sequence[GlobalExplanation],
  overviews: Mapping[str, Overview],
) -> Characteristic:
  """Plots one characteristic.

  Args:
    name: of the modification.
    alive: living prototypes that have scores.
    overviews: split -> its overview.
  """
  splits = list(dict.fromkeys(split for e in alive for split in e.because))
  numbers = np.array([e.prototype for e in alive])
  scores = {
    split: np.array(
      [
        e.because[split].scores[name] if split in e.because else np.nan
        for e in alive
      ]
    )
    for split in splits
  }
  drawn = None
  if len(splits) > 1:
    drawn = plots.scatter(numbers, scores[splits[0]], scores[splits[-1]])
  last = scores[splits[-1]]
  order = [i for i in np.argsort(-last, kind="stable") if np.isfinite(last[i])]
  ranked = [(int(numbers[i]), float(last[i])) for i in order]
  few = min(_EXTREMES, len(ranked) // 2)
  return Characteristic(
    name=name,
    globally=plots.of_scores(scores),
    locally=plots.of_counts(
      {k: o.local[name] for k, o in overviews.items() if name in o.local}
    ),
    scatter=drawn,
    highest=tuple(ranked[:few]),
    lowest=tuple(ranked[len(ranked) - few :][::-1]),
  )


def figures(rows: Sequence[Mapping[str, Any]]) -> list[Figures]:
  """One table for each split, from the rows of `statistics.rows`."""
  tables: dict[tuple, dict[str, dict[str, Any]]] = {}
  for row in rows:
    # All characteristics together have a table of their own.
    key = row["split"], row["modification"] == "all"
    found = tables.setdefault(key, {}).setdefault(row["statistic"], {})
    found[row["modification"]] = row["value"]
  return [
    _figures(_title(split, together), found)
    for (split, together), found in tables.items()
  ]


def _title(split: str, together: bool) -> str:
  """The title of a table, of "test" or "train against test"."""
  own = "without each prototype’s own image"
  title = split.capitalize().replace("without source", own)
  return f"{title}, all characteristics together" if together else title


def _figures(title: str, found: Mapping[str, Mapping[str, Any]]) -> Figures:
  names = list(dict.fromkeys(name for of in found.values() for name in of))
  # Controls are no characteristics, but show whether the scores are right.
  columns = (*page.ordered(names), *filter(page.is_control, names))
  lines = []
  for statistic, of in found.items():
    if statistic == "high" and "low" in found:
      continue
    shown = tuple(_printed(statistic, of.get(name)) for name in columns)
    if statistic == "low" and "high" in found:
      statistic, upper = "interval", found["high"]
      ends = (_printed("high", upper.get(name)) for name in columns)
      shown = tuple(map("{} to {}".format, shown, ends))
    lines.append((glossary.statistic(statistic), shown))
  return Figures(title, columns, tuple(lines))


def _printed(statistic: str, value: Any) -> str:
  """A number as text, to two digits if it is small."""
  if value is None or not math.isfinite(value):
    return "\N{EN DASH}"
  if statistic in _WHOLE:
    return f"{value:,}" if value >= 0 else "\N{EN DASH}"
  number = f"{value:.3f}" if abs(value) >= 0.1 or not value else f"{value:#.2g}"
  return number.replace("-", "\N{MINUS SIGN}")


def _mean(scores: Sequence[float]) -> float:
  known = [score for score in scores if math.isfinite(score)]
  return float(np.mean(known)) if known else math.nan
