"""The folder that a run of `explain.py` fills.

Counts images and time, deletes the files of earlier runs, and prints a summary.
The classes `Report` of `block_report`, `class_report` and `defect_report` write
the files.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
import contextlib
from pathlib import Path
import shutil
import time
from typing import Any, ClassVar

from rich.table import Table

from protojax import __version__, json_files, parallel
from protojax.console import Console
from protojax.explain import documents
from protojax.modify import presets
from protojax.modify.modification import require_known
from protojax.modify.presets import Preset
from protojax.report import json_lines, page, special_pages


class ReportFolder(abc.ABC):
  """Files of explanations, written while these are made.

  A context manager: tables appear when it ends without an error.

  Attributes:
    folder: where the files are.
    run: workdir of the run that is explained.
    preset: what was modified, and how it was scored.
    formats: which of `FORMATS` to write.
    images: split -> number of images so far.
    written: the files and folders of this run.
    summary: content of `summary.json`; empty before `finish`, and in processes
      that do not write.
  """

  # All files and folders that a run may write.
  FILES: ClassVar[tuple[str, ...]]
  # Folders whose files have names that are not known beforehand.
  FOLDERS: ClassVar[tuple[str, ...]] = ()
  # What is explained.
  NOUN: ClassVar[str] = "images"
  # The formats it can write.
  FORMATS: ClassVar[tuple[str, ...]]

  def __init__(
    self,
    folder: Path,
    run: Path,
    preset: Preset = presets.DEFAULT,
    formats: Sequence[str] = ("html", "csv"),
    notes: Mapping[str, str] | None = None,
    pages: special_pages.MakePages | None = None,
  ) -> None:
    """Prepares to write.

    Args:
      folder: for the explanations.
      run: workdir of the run that is explained.
      preset: what is modified, and how it is scored.
      formats: which of `FORMATS` to write.
      notes: name of a note that the method gives on prototypes -> its meaning.
      pages: makes the special pages of the method.

    Raises:
      UserError: there is no such format, or the run's summary is damaged.
    """
    for name in formats:
      require_known("format", name, self.FORMATS)
    self.folder, self.run, self.preset = folder, run, preset
    self._of_run = _summary_of(run)
    self.formats = tuple(formats)
    self.notes = notes or {}
    self.images: dict[str, int] = {}
    self.written: list[Path] = []
    self._inside: list[Path] = []
    self.summary: dict[str, Any] = {}
    self._make_pages = pages
    self._special: list[special_pages.Page] = []
    self._started = time.monotonic()
    self._files = contextlib.ExitStack()
    self._add_line: Callable[[documents.Explained], None] | None = None

  def __enter__(self) -> "ReportFolder":
    self._files.__enter__()
    return self

  def __exit__(self, *error: Any) -> bool | None:
    return self._files.__exit__(*error)

  def seen(self, split: str, images: int) -> None:
    """Counts images that are explained."""
    self.images[split] = self.images.get(split, 0) + images

  @abc.abstractmethod
  def add(self, explained: Any) -> None:
    """Adds an explanation."""

  def finish(self) -> dict[str, Any]:
    """Writes the files that need all explanations; returns `summary.json`.

    Call it within the context, in all processes: they make the special pages
    together, and one of them writes. It deletes files of an earlier run that
    this run did not write, because they would seem to belong to its report.
    """
    if self._make_pages is not None and "html" in self.formats:
      self._special = special_pages.checked(self._make_pages())
    if not parallel.is_primary():
      return self.summary
    self.summary = self._write()
    if self._special:
      self._write_special()
    kept = {*self.written, *self._inside}
    for path in (self.folder / name for name in self._names()):
      if any(path == k or path in k.parents for k in kept):
        continue
      if path.is_dir():
        shutil.rmtree(path)
      path.unlink(missing_ok=True)
    return self.summary

  def show(self, console: Console) -> None:
    """Prints the results and the written files; call it after `finish`."""
    for table in self._tables():
      console.print(table)
    console.print()
    console.print(
      f"{self.summary['images']} {self.NOUN} in"
      f" {self.summary['seconds']:.1f} s"
      f" ({self.summary['images_per_second']:.3g} {self.NOUN}/s)"
    )
    for path in self.written:
      console.print(str(path), soft_wrap=True)

  @abc.abstractmethod
  def _write(self) -> dict[str, Any]:
    """Writes the files that need all explanations; returns the summary."""

  @abc.abstractmethod
  def _tables(self) -> list[Table]:
    """The tables that `show` prints before the counts."""

  def _write_special(self) -> None:
    """Writes the special pages, which link back to the report."""
    (report,) = (
      path.relative_to(self.folder)
      for path in self.written
      if path.suffix == ".html"
    )
    head = self._head([], self.summary, {})
    for path in special_pages.write(
      self.folder, self._special, head, report.as_posix()
    ):
      self._path_inside(special_pages.FOLDER, path.name)

  def _names(self) -> set[str]:
    """Files and folders of this run and of earlier ones."""
    folders = special_pages.FOLDER, *self.FOLDERS
    inside = (p for name in folders for p in (self.folder / name).glob("[!.]*"))
    old = {path.relative_to(self.folder).as_posix() for path in inside}
    return {*self.FILES, *folders, *old}

  def _path(self, name: str) -> Path:
    """The path of a file of `FILES`, which is now one of this run."""
    self.written.append(self.folder / name)
    return self.written[-1]

  def _write_line(self, explained: documents.Explained) -> None:
    """Adds a line to `explanations.jsonl`, if the format "json" is wanted."""
    if "json" not in self.formats:
      return
    if self._add_line is None:
      lines = json_lines.lines(self._path(json_lines.NAME))
      self._add_line = self._files.enter_context(lines)
    self._add_line(explained)

  def _path_inside(self, folder: str, name: str) -> Path:
    """The path of a file of this run in a folder of `FOLDERS`."""
    path = self.folder / folder / name
    if path.parent not in self.written:
      self.written.append(path.parent)
    self._inside.append(path)
    return path

  def _counts(self) -> dict[str, Any]:
    """The summary's counts, for all kinds of explanations."""
    seconds = time.monotonic() - self._started
    images = sum(self.images.values())
    return {
      "images": images,
      "seconds": round(seconds, 3),
      "images_per_second": round(images / seconds, 3),
      "images_by_split": self.images,
      # Scores of different presets must not be mixed.
      "preset": self.preset.record(),
    }

  def _head(
    self,
    facts: list[tuple[str, str]],
    summary: dict[str, Any],
    accuracy: dict[str, float],
    alerts: Sequence[str] = (),
  ) -> page.Run:
    """The head of the report: counts, with the given facts among them."""
    noun = self.NOUN.capitalize()
    counts = [
      (f"{noun} ({split})" if split != "images" else noun, f"{count:,}")
      for split, count in self.images.items()
    ]
    rate = (f"{noun} per second", f"{summary['images_per_second']:.3g}")
    return page.Run(
      title=self.run.name,
      facts=[*counts, *facts, rate],
      accuracy=accuracy,
      strengths={m.name: str(m) for m in self.preset.modifications},
      mode=self.preset.mode,
      notes=self.notes,
      alerts=alerts,
      version=__version__,
      links=[(one.address, one.title) for one in self._special],
    )


def _summary_of(run: Path) -> dict[str, Any]:
  """The summary of the training run; empty if it is not finished."""
  path = run / "summary.json"
  if not path.exists():
    return {}
  return json_files.read_json(path, dict[str, Any], "restore or remove it")


def figures(found: Any) -> dict[str, float]:
  """The numbers of a part of a run's summary, by name; others are left out."""
  numbers = found.items() if isinstance(found, dict) else ()
  return {
    name: value
    for name, value in numbers
    if isinstance(value, int | float) and not isinstance(value, bool)
  }
