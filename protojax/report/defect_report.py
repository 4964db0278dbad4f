"""The report of defects: tables, a summary and the page of inspections.

Takes inspections one by one, and holds in memory the pictures that it may show.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from protojax import printing
from protojax.csv_files import Writer
from protojax.explain import inspection
from protojax.explain.inspection import Inspection, Original
from protojax.report import (
  defect_page,
  defect_sentences,
  explanation_tables,
  json_lines,
)
from protojax.report.report_folder import ReportFolder, figures
from protojax.types import Box, UserError
from protojax.writing import replacing

# Pictures beyond those shown at which the others are dropped.
_SPARE = 40
# Of `inspections.csv`; those of the modifications follow.
_COLUMNS = (
  "image",
  "split",
  "category",
  "kind",
  "score",
  "threshold",
  "defective",
  "worst_box",
  "original_box",
  "seen_box",
  "hidden",
  "worst_value",
)


class Report(ReportFolder):
  """Explanations of anomalies: scores, where they are highest, and why."""

  FILES = (
    "inspections.csv",
    json_lines.NAME,
    "maps.npz",
    "report.html",
    "report.txt",
    "summary.json",
  )

  FORMATS = ("html", "csv", "json", "npz")

  def __init__(self, *arguments: Any, **options: Any) -> None:
    """Prepares to write; see `ReportFolder`.

    The format "npz" needs the map of every inspection.

    Raises:
      UserError: a modification has the name of a column.
    """
    super().__init__(*arguments, **options)
    if taken := [name for name in self.preset.names if name in _COLUMNS]:
      raise UserError(
        f"preset {self.preset.name}: a modification is called {taken[0]!r}, as"
        " a column of inspections.csv is; give it another name"
      )
    self._all: list[Inspection] = []
    self._maps: list[np.ndarray] = []
    self._pictures = 0
    self._add_row: Any = None

  def add(self, explained: Inspection) -> None:
    """Adds an inspection.

    Raises:
      ValueError: it has no map, and all maps are to be written.
    """
    if "csv" in self.formats:
      if self._add_row is None:
        rows = table(self._path("inspections.csv"), self.preset.names)
        self._add_row = self._files.enter_context(rows)
      self._add_row(explained)
    if "npz" in self.formats:
      if explained.anomaly_map is None:
        raise ValueError(f"{explained.image} has no map to keep")
      self._maps.append(explained.anomaly_map)
    self._write_line(explained)
    self._all.append(explained)
    self._pictures += explained.picture is not None
    if self._pictures > 2 * inspection.WORST + 2 * inspection.MISTAKES + _SPARE:
      self._forget()

  def _forget(self) -> None:
    """Drops the pictures of inspections that will not be shown."""
    shown = inspection.to_show(self._all)
    self._all = [
      e if i in shown else _without_pictures(e) for i, e in enumerate(self._all)
    ]
    self._pictures = len(shown)

  def _write(self) -> dict[str, Any]:
    self._forget()
    if self._maps:
      _write_maps(self._path("maps.npz"), self._all, self._maps)
    summary = {**self._counts(), **_found(self._all)}
    explanation_tables.summary(self._path("summary.json"), summary)
    if "html" in self.formats:
      self._write_report(summary)
    return summary

  def _write_report(self, summary: dict[str, Any]) -> None:
    of_run = figures(self._of_run)
    head = self._head(
      _facts(self._all),
      summary,
      {k: of_run[k] for k in defect_page.FIGURES if k in of_run},
    )
    cautions = defect_page.cautions(self._all, self.preset.mode)
    with replacing(self._path("report.txt")) as file:
      text = defect_sentences.document(self.run.name, self._all, cautions)
      file.write(printing.escaped_in_lines(text))
    defect_page.write(self._path("report.html"), head, self._all)

  def _tables(self) -> list[Table]:
    found = Table("kind", "images", "found defective", box=None, pad_edge=False)
    for kind, counts in self.summary["by_kind"].items():
      found.add_row(kind, str(counts["images"]), str(counts["found"]))
    found.add_row("all", str(len(self._all)), str(self.summary["found"]))
    shares = Table("score lost without", "share", box=None, pad_edge=False)
    for name, share in self.summary["because_shares"].items():
      shares.add_row(name, defect_sentences.percent(share))
    return [found, *([shares] if shares.row_count else [])]


@contextlib.contextmanager
def table(path: Path, modifications: Sequence[str]) -> Iterator[Any]:
  """Opens `inspections.csv`; gives a function that adds an inspection.

  A box is "top left bottom right", bottom and right excluded: "worst_box" in
  pixels of the network's input, "original_box" the same in pixels of the image
  itself, and "seen_box" what the network sees of the image. "hidden" is the
  share of the marked defect that it does not see. The columns of the
  modifications are phi, the fall of the anomaly at the worst cell,
  `worst_value`.
  """
  with replacing(path) as file:
    writer = Writer(file)
    writer.row((*_COLUMNS, *modifications))

    def add(e: Inspection) -> None:
      because = (e.because.get(name) for name in modifications)
      writer.row(
        (
          e.image,
          e.split,
          e.category,
          "" if e.kind is None else e.kind,
          explanation_tables.number(e.score),
          explanation_tables.number(e.threshold.value),
          int(e.defective),
          _sides(e.worst),
          *_original(e.original),
          explanation_tables.number(e.worst_value),
          *(
            "" if phi is None else explanation_tables.number(phi)
            for phi in because
          ),
        )
      )

    yield add


def _original(found: Original | None) -> tuple[str, str, str]:
  """Worst box, what is seen, and the share of the defect that is not."""
  if found is None:
    return "", "", ""
  hidden = found.hidden
  share = "" if hidden is None else explanation_tables.number(hidden)
  return _sides(found.worst), _sides(found.seen), share


def _sides(box: Box | None) -> str:
  return "" if box is None else " ".join(map(str, box))


def _without_pictures(e: Inspection) -> Inspection:
  return dataclasses.replace(
    e, picture=None, anomaly_map=None, assignment=None, truth=None
  )


def _write_maps(
  path: Path, inspections: Sequence[Inspection], maps: Sequence[np.ndarray]
) -> None:
  """Arrays: image [n] (names), split [n], score [n], anomaly_map [n H W].

  A map lies over "seen_box" [n 4] of an image of "shape" [n 2], in pixels of
  the image itself; both are 0 where unknown.
  """
  unknown = Original((0, 0), Box(0, 0, 0, 0))
  places = [e.original or unknown for e in inspections]
  with replacing(path, "wb") as file:
    np.savez(
      file,
      image=np.array([e.image for e in inspections], np.str_),
      split=np.array([e.split for e in inspections], np.str_),
      score=np.array([e.score for e in inspections]),
      anomaly_map=np.stack(maps),
      shape=np.array([place.shape for place in places]),
      seen_box=np.array([place.seen for place in places]),
    )


def _found(inspections: Sequence[Inspection]) -> dict[str, Any]:
  """The content of `summary.json` beside the counts."""
  return {
    **_verdicts(inspection.tally(inspections)),
    "thresholds": [
      threshold._asdict()
      for threshold in dict.fromkeys(e.threshold for e in inspections)
    ],
    "by_kind": _by_name(inspection.grouped(inspections, "kind")),
    "by_category": _by_name(inspection.grouped(inspections, "category")),
    "because": inspection.mean_because(inspections),
    "because_shares": inspection.mean_because(inspections, shares=True),
  }


def _by_name(
  groups: Mapping[str, Sequence[Inspection]],
) -> dict[str, dict[str, int | float]]:
  """Counts by category or kind; unknown counts are left out."""
  return {
    name: {"images": len(group), **_verdicts(inspection.tally(group))}
    for name, group in groups.items()
  }


def _verdicts(tally: inspection.Tally) -> dict[str, int | float]:
  found: dict[str, int | float] = {"found": tally.found}
  if tally.normal:
    found["false_positives"] = tally.false_alarms
  if tally.defective:
    found["false_negatives"] = tally.missed
  if math.isfinite(tally.auroc):
    found["image_auroc"] = tally.auroc
  return found


def _facts(inspections: Sequence[Inspection]) -> list[tuple[str, str]]:
  """The facts of the head of the report, after the numbers of images."""
  tally = inspection.tally(inspections)
  facts = [("Found defective", f"{tally.found} of {tally.images}")]
  if tally.normal:
    facts.append(("False alarms", f"{tally.false_alarms} of {tally.normal}"))
  if tally.defective:
    facts.append(("Missed", f"{tally.missed} of {tally.defective}"))
  if math.isfinite(tally.auroc):
    facts.append(("Image AUROC", f"{tally.auroc:.3f}"))
  thresholds = {e.threshold for e in inspections}
  for value, rate, images in thresholds if len(thresholds) == 1 else ():
    facts.append(("Threshold", defect_sentences.figure(value)))
    facts.append(
      ("False alarms expected", f"≤ {defect_sentences.percent(rate)}")
    )
    facts.append(("Chosen on normal images", str(images)))
  return facts
