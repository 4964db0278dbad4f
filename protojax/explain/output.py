"""What a run of `explain.py` leaves: tables, a summary and the report.

Takes explanations one by one, so that tables grow as they come and only what
the report shows stays in memory.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from protojax.explain import html, presets, tables, text
from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
  merge,
)
from protojax.explain.folder import Folder
from protojax.writing import replacing


class Output(Folder):
  """Explanations of classes: why images look like prototypes."""

  FILES = (
    "global_train.csv",
    "global_test.csv",
    "local.csv",
    "local.npz",
    "prototypes.csv",
    "report.html",
    "report.txt",
    "summary.json",
  )

  def __init__(self, folder: Path, run: Path, keep_all: bool = False) -> None:
    """Prepares to write.

    Args:
      folder: for the explanations.
      run: workdir of the run that is explained.
      keep_all: also write `local.npz`.
    """
    super().__init__(folder, run, keep_all)
    self._globals: list[GlobalExplanation] = []
    self._overviews: dict[str, Overview] = {}
    self._shown: list[LocalExplanation] = []
    self._whole: list[LocalExplanation] = []
    self._counted = self._right = 0
    self._add_row: Any = None

  def add(
    self, explained: LocalExplanation | Overview | GlobalExplanation
  ) -> None:
    """Takes an explanation in."""
    if isinstance(explained, Overview):
      self._overviews[explained.split] = explained
      return
    if isinstance(explained, GlobalExplanation):
      self._globals.append(explained)
      return
    if self._add_row is None:
      path = self._path("local.csv")
      self._add_row = self._files.enter_context(tables.local_table(path))
    self._add_row(explained)
    if explained.label is not None:
      self._counted += 1
      self._right += not explained.wrong
    if self.keep_all:
      self._whole.append(dataclasses.replace(explained, picture=None))
    if explained.picture is not None:
      self._shown.append(dataclasses.replace(explained, whole=None))

  def _write(self) -> dict[str, Any]:
    prototypes = merge(self._globals)
    for split in dict.fromkeys(s for e in prototypes for s in e.because):
      alive = {e.prototype: e.because[split] for e in prototypes if e.alive}
      tables.global_table(self._path(f"global_{split}.csv"), alive)
    # With the images alone, only the prototypes they are compared with come.
    if any(e.because for e in prototypes):
      tables.prototype_table(self._path("prototypes.csv"), prototypes)
    if self._whole:
      tables.local_arrays(
        self._path("local.npz"), self._whole, presets.REFERENCE.names
      )
    summary = {**self._counts(), "importance": _overall(prototypes)}
    tables.summary(self._path("summary.json"), summary)
    head = self._head(
      self._facts(prototypes), summary, self._of_run().get("accuracy", {})
    )
    with replacing(self._path("report.txt")) as file:
      file.write(text.document(prototypes, self._shown))
    html.write(self._path("report.html"), head, prototypes, self._shown)
    return summary

  def _facts(self, prototypes) -> list[tuple[str, str]]:
    facts = []
    if self._counted:
      facts.append(
        ("Recognised of these", f"{self._right / self._counted:.1%}")
      )
    if any(e.because for e in prototypes):
      alive = sum(e.alive for e in prototypes)
      copies = sum(e.duplicate_of is not None for e in prototypes)
      facts.append(("Prototypes alive", f"{alive} of {len(prototypes)}"))
      facts.append(("Duplicates", str(copies)))
    return facts

  def _tables(self) -> list[Table]:
    importance = self.summary["importance"]
    if not importance:
      return []
    splits = list(importance)
    table = Table("similarity lost without", *splits, box=None, pad_edge=False)
    for name in importance[splits[-1]]:
      scores = (importance[split] for split in splits)
      table.add_row(name, *(f"{s.get(name, 0):.3f}" for s in scores))
    return [table]


def _overall(prototypes) -> dict[str, dict[str, float]]:
  """split -> characteristic -> mean over living prototypes, the highest first.

  Prototypes that no image is like at all have no score and are left out.
  """
  found = {}
  for split in dict.fromkeys(s for e in prototypes for s in e.because):
    scores = [e.because[split].scores for e in prototypes if e.alive]
    means = {
      name: float(np.nanmean([s[name] for s in scores]))
      for name in text.CHARACTERISTICS
      if scores and not np.isnan([s[name] for s in scores]).all()
    }
    found[split] = dict(sorted(means.items(), key=lambda item: -item[1]))
  return found
