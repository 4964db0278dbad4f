"""The folder that a run of `explain.py` fills, whatever it explains.

Counts images and time, deletes the files of earlier runs, and prints a summary.
Which files it writes is decided by `classes.Report` and `defects.Report`.
"""

import abc
from collections.abc import Sequence
import contextlib
import importlib.metadata
import json
from pathlib import Path
import shutil
import time
from typing import Any, ClassVar

from rich.console import Console
from rich.table import Table

from protojax.modify import presets
from protojax.modify.modification import require_known
from protojax.modify.presets import Preset
from protojax.report import page


class ReportFolder(abc.ABC):
  """Files of explanations, filled while they are made.

  A context: tables that grow take their places when it ends without an error.

  Attributes:
    folder: where the files are.
    run: workdir of the run that is explained.
    preset: what was modified, and how it was scored.
    formats: which of `FORMATS` to write.
    images: split -> how many images were seen.
    written: the files of this run.
    summary: what `summary.json` says; empty before `finish`.
  """

  # All that a run may leave, folders too.
  FILES: ClassVar[tuple[str, ...]]
  # The forms that its explanations can have.
  FORMATS: ClassVar[tuple[str, ...]]

  def __init__(
    self,
    folder: Path,
    run: Path,
    preset: Preset = presets.REFERENCE,
    formats: Sequence[str] = ("html", "csv"),
  ) -> None:
    """Prepares to write.

    Args:
      folder: for the explanations.
      run: workdir of the run that is explained.
      preset: what is modified, and how it is scored.
      formats: which of `FORMATS` to write.

    Raises:
      UserError: there is no such form of these explanations.
    """
    for name in formats:
      require_known("format", name, self.FORMATS)
    self.folder, self.run, self.preset = folder, run, preset
    self.formats = tuple(formats)
    self.images: dict[str, int] = {}
    self.written: list[Path] = []
    self.summary: dict[str, Any] = {}
    self._started = time.monotonic()
    self._files = contextlib.ExitStack()

  def __enter__(self) -> "ReportFolder":
    self._files.__enter__()
    return self

  def __exit__(self, *error: Any) -> bool | None:
    return self._files.__exit__(*error)

  def seen(self, split: str, images: int) -> None:
    """Counts images that went through the model."""
    self.images[split] = self.images.get(split, 0) + images

  @abc.abstractmethod
  def add(self, explained: Any) -> None:
    """Takes an explanation in."""

  def finish(self) -> dict[str, Any]:
    """Writes all that needs the end; returns what `summary.json` says.

    To be called within the context.

    Files of an earlier run that this one did not write go: they would pass
    for a part of its report.
    """
    self.summary = self._write()
    for path in (self.folder / name for name in self.FILES):
      if any(path == w or path in w.parents for w in self.written):
        continue
      if path.is_dir():
        shutil.rmtree(path)
      path.unlink(missing_ok=True)
    return self.summary

  def show(self, console: Console) -> None:
    """Prints what was found and where it is written; after `finish`."""
    for table in self._tables():
      console.print(table)
    console.print(
      f"\n{self.summary['images']} images in {self.summary['seconds']:.1f} s"
      f" ({self.summary['images_per_second']:.3g} images/s)"
    )
    for path in self.written:
      console.print(str(path), highlight=False, soft_wrap=True, markup=False)

  @abc.abstractmethod
  def _write(self) -> dict[str, Any]:
    """Writes the files of the end; returns the summary."""

  @abc.abstractmethod
  def _tables(self) -> list[Table]:
    """What `show` prints before the counts."""

  def _path(self, name: str) -> Path:
    """Where a file of `FILES` goes; from now on it is this run's."""
    self.written.append(self.folder / name)
    return self.written[-1]

  def _counts(self) -> dict[str, Any]:
    """The part of the summary that all kinds of explanations have."""
    seconds = time.monotonic() - self._started
    images = sum(self.images.values())
    return {
      "images": images,
      "seconds": round(seconds, 3),
      "images_per_second": round(images / seconds, 3),
      "images_by_split": self.images,
      # Scores of two presets must not be mixed.
      "preset": self.preset.record(),
    }

  def _head(
    self,
    facts: list[tuple[str, str]],
    summary: dict[str, Any],
    accuracy: dict[str, float],
    alerts: Sequence[str] = (),
  ) -> page.Run:
    """The head of the report: counts around the facts that are given."""
    counts = [
      (f"Images ({split})" if split != "images" else "Images", f"{count:,}")
      for split, count in self.images.items()
    ]
    rate = ("Images per second", f"{summary['images_per_second']:.3g}")
    return page.Run(
      title=self.run.name,
      facts=[*counts, *facts, rate],
      accuracy=accuracy,
      strengths={m.name: str(m) for m in self.preset.modifications},
      mode=self.preset.mode,
      alerts=alerts,
      version=importlib.metadata.version("protojax"),
    )

  def _of_run(self) -> dict[str, Any]:
    """What the run says of itself, if it is finished."""
    try:
      return json.loads((self.run / "summary.json").read_text())
    except (OSError, ValueError):
      return {}
