"""The report of classes: tables, a summary and the pages of a run.

Takes explanations one by one: it writes their rows at once and holds in memory
only what the pages show.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np
from rich.table import Table

from protojax import printing
from protojax.explain import familiarity, misleading, overview, standings
from protojax.explain.evidence import (
  ExplainedRun,
  GlobalExplanation,
  LocalExplanation,
  Overview,
)
from protojax.explain.merging import merge
from protojax.report import (
  class_pages,
  explanation_tables,
  json_lines,
  png,
  sentences,
)
from protojax.report.pictures import Pictures
from protojax.report.report_folder import ReportFolder, figures
from protojax.writing import replacing

# Modifications that are no characteristics.
_ASIDE = ("identity", "identity_95", "brightness")


class Report(ReportFolder):
  """Explanations of classes: why images look like prototypes."""

  FILES = (
    "global_train.csv",
    "global_test.csv",
    "local.csv",
    "prototypes.csv",
    "statistics.csv",
    "local.npz",
    json_lines.NAME,
    "png",
    "report",
    "report.html",
    "report.txt",
    "summary.json",
  )
  FORMATS = ("html", "csv", "json", "npz", "png")

  def __init__(self, *arguments: Any, **options: Any) -> None:
    """Prepares to write; see `ReportFolder`.

    The format "npz" needs explanations with all scores.
    """
    super().__init__(*arguments, **options)
    self._globals: list[GlobalExplanation] = []
    self._overviews: dict[str, Overview] = {}
    self._shown: list[LocalExplanation] = []
    self._with_all_scores: list[LocalExplanation] = []
    # (label, predicted class) -> number of images.
    self._answers: Counter[tuple[str, str]] = Counter()
    # (prototype, predicted class) -> points.
    self._in_use: dict[tuple[int, str], float] = {}
    self._add_row: Callable[[LocalExplanation], None] | None = None
    self._known = familiarity.read(self.run)
    # Images whose familiarity is known, and those of them that are unfamiliar.
    self._judged = self._unfamiliar = 0

  def __enter__(self) -> "Report":
    super().__enter__()
    enter = self._files.enter_context
    self._pictures = enter(Pictures(self.folder))
    return self

  def add(
    self, explained: LocalExplanation | Overview | GlobalExplanation
  ) -> None:
    """Adds an explanation."""
    if isinstance(explained, LocalExplanation):
      self._add_image(explained)
    elif isinstance(explained, GlobalExplanation):
      self._add_prototype(explained)
    else:
      self._overviews[explained.split] = self._pictures.of_overview(explained)

  def _add_image(self, explained: LocalExplanation) -> None:
    explained = familiarity.of_image(explained, self._known)
    self._judged += explained.familiarity is not None
    self._unfamiliar += bool(explained.unfamiliar)
    if "csv" in self.formats:
      if self._add_row is None:
        rows = explanation_tables.local_table(self._path("local.csv"))
        self._add_row = self._files.enter_context(rows)
      self._add_row(explained)
    for row in explained.evidence:
      place = row.prototype, explained.predicted.class_name
      self._in_use[place] = self._in_use.get(place, 0.0) + row.points
    if explained.label is not None:
      self._answers[explained.label, explained.predicted.class_name] += 1
    if "npz" in self.formats:
      self._with_all_scores.append(dataclasses.replace(explained, picture=None))
    explained = dataclasses.replace(explained, all_scores=None)
    if explained.picture is None:
      self._write_line(explained)
      return
    if "png" in self.formats:
      png.of_image(self.folder / "png", explained)
    self._shown.append(self._pictures.of_image(explained))

  def _add_prototype(self, explained: GlobalExplanation) -> None:
    if "png" in self.formats:
      png.of_prototype(self.folder / "png", explained)
    self._globals.append(self._pictures.of_prototype(explained))

  def _write(self) -> dict[str, Any]:
    prototypes = standings.mark(merge(self._globals))
    prototypes, shown = misleading.mark(prototypes, self._shown)
    statistics = overview.statistics_rows(self._overviews)
    every = (alert for o in self._overviews.values() for alert in o.alerts)
    alerts = list(dict.fromkeys(every))
    summary = {
      **self._counts(),
      "importance": _overall(prototypes),
      **_redundancy(self._overviews),
      "misleading": _misleading(prototypes, shown),
      "alerts": alerts,
    }
    accuracy = figures(self._of_run.get("accuracy"))
    facts = self._facts(prototypes)
    head = self._head(facts, summary, accuracy, alerts)
    if "csv" in self.formats:
      self._write_tables(prototypes, statistics)
    if self._with_all_scores:
      explanation_tables.local_arrays(
        self._path("local.npz"), self._with_all_scores, self.preset.names
      )
    of_run = ExplainedRun(
      head.title, head.version, head.accuracy, head.strengths
    )
    for explained in (*shown, *prototypes, *self._overviews.values(), of_run):
      self._write_line(explained)
    if "png" in self.formats:
      self._path("png")
    if "html" in self.formats:
      with replacing(self._path("report.txt")) as file:
        text = sentences.document(prototypes, shown)
        file.write(printing.escaped_in_lines(text))
      self.written += class_pages.write(
        self._pictures,
        head,
        prototypes,
        shown,
        self._overviews,
        statistics,
        self._answers,
        self._in_use,
      )
    explanation_tables.summary(self._path("summary.json"), summary)
    return summary

  def _write_tables(
    self,
    prototypes: Sequence[GlobalExplanation],
    statistics: Sequence[Mapping[str, Any]],
  ) -> None:
    for split in dict.fromkeys(s for e in prototypes for s in e.because):
      alive = {e.prototype: e.because[split] for e in prototypes if e.alive}
      explanation_tables.global_table(self._path(f"global_{split}.csv"), alive)
    # For the scope "local" there are only prototypes without scores.
    if any(e.because for e in prototypes):
      explanation_tables.prototype_table(
        self._path("prototypes.csv"), prototypes
      )
    if statistics:
      explanation_tables.statistics_table(
        self._path("statistics.csv"), statistics
      )

  def _facts(
    self, prototypes: Sequence[GlobalExplanation]
  ) -> list[tuple[str, str]]:
    facts = []
    if self._answers:
      right = sum(n for (a, b), n in self._answers.items() if a == b)
      share = right / self._answers.total()
      facts.append(("Recognised of these", f"{share:.1%}"))
    if self._judged:
      said = f"{self._unfamiliar:,} of {self._judged:,}"
      facts.append(("Images called unfamiliar", said))
    if any(e.because for e in prototypes):
      alive = sum(e.alive for e in prototypes)
      copies = sum(e.duplicate_of is not None for e in prototypes)
      facts.append(("Prototypes alive", f"{alive} of {len(prototypes)}"))
      facts.append(("Duplicate prototypes", str(copies)))
    return facts

  def _tables(self) -> list[Table]:
    importance = self.summary["importance"]
    if not importance:
      return []
    splits = list(importance)
    table = Table("similarity lost without", *splits, box=None, pad_edge=False)
    for name in importance[splits[-1]]:
      scores = (importance[split] for split in splits)
      table.add_row(name, *(f"{s.get(name, 0):z.3f}" for s in scores))
    return [table]


def _overall(
  prototypes: Sequence[GlobalExplanation],
) -> dict[str, dict[str, float]]:
  """split -> characteristic -> mean over living prototypes, the highest first.

  Prototypes that no image is similar to have no score and are left out.
  """
  found = {}
  for split in dict.fromkeys(s for e in prototypes for s in e.because):
    scores = [e.because[split].scores for e in prototypes if e.alive]
    names = dict.fromkeys(name for s in scores for name in s)
    means = {
      name: float(np.nanmean([s[name] for s in scores]))
      for name in names
      if name not in _ASIDE and not np.isnan([s[name] for s in scores]).all()
    }
    found[split] = dict(sorted(means.items(), key=lambda item: -item[1]))
  return found


def _redundancy(overviews: Mapping[str, Overview]) -> dict[str, Any]:
  """Groups of redundant prototypes, and the accuracy with one of each."""
  for one in overviews.values():
    if one.redundancy is not None:
      return {"redundancy": dataclasses.asdict(one.redundancy)}
  return {}


def _misleading(
  prototypes: Sequence[GlobalExplanation], images: Sequence[LocalExplanation]
) -> dict[str, int]:
  """How many of the shown pairs are misleading."""
  near = (n for e in prototypes for of in e.nearest.values() for n in of)
  rows = (row for e in images for row in e.evidence)
  found = [x.misleading for x in (*near, *rows) if x.misleading is not None]
  return {"pairs": len(found), "misleading": sum(found)}
