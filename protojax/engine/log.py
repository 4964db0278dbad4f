"""Logs a run while it trains: metrics.jsonl, TensorBoard, progress bar."""

from collections.abc import Iterable, Mapping
import contextlib
import math
from pathlib import Path
import time
from typing import Any, TypedDict

from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  ProgressColumn,
  Task,
  TextColumn,
  TimeRemainingColumn,
)
from rich.text import Text
from tensorboardX.event_file_writer import EventsWriter

# Protocol buffers make their classes at import.
# pyrefly: ignore[missing-module-attribute]
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from protojax import json_files, parallel
from protojax.console import Console
from protojax.types import Metrics, UserError
from protojax.writing import json_text, replacing, writing

_WAY_OUT = "remove the line, or the file: it is a log, and no run reads it"


class Log:
  """Events of one run; only the primary process writes.

  On resume, events past the restored position are removed, so that every
  (stage, step, split) is there once.

  Args:
    workdir: the run's folder.
    stage: number of the current stage, from 1.
    step: steps of that stage that are done.
    total_steps: steps done in all stages.

  Raises:
    UserError: the folder cannot be written to; its disk is full.
  """

  def __init__(
    self, workdir: Path, stage: int = 1, step: int = 0, total_steps: int = 0
  ) -> None:
    self._writing = parallel.is_primary()
    if not self._writing:
      return
    self._path = workdir / "metrics.jsonl"
    with writing(self._path):
      workdir.mkdir(parents=True, exist_ok=True)
      _cut(self._path, stage, step)
    self._board = _Board(workdir / "tensorboard", total_steps + 1)

  def event(
    self,
    stage: str,
    epoch: int,
    step: int,
    split: str,
    metrics: Metrics,
    total_steps: int,
  ) -> None:
    """Appends one event: metrics after `step` steps of the stage."""
    if not self._writing:
      return
    position = {"stage": stage, "epoch": epoch, "step": step, "split": split}
    # Closed every time, so that an error of the disk is raised here.
    with writing(self._path), self._path.open("a") as file:
      file.write(json_text({**position, **metrics}) + "\n")
    self._board.add(
      {f"{split}/{name}": value for name, value in metrics.items()}, total_steps
    )

  def close(self) -> None:
    """Flushes and closes the files."""
    if self._writing:
      self._board.close()


class _Event(TypedDict):
  """What every line of metrics.jsonl has."""

  stage: str
  step: int


def _cut(path: Path, stage: int, step: int) -> None:
  """Removes events past a position, and a last line that is incomplete."""
  if not path.exists():
    path.touch()
    return
  lines = []
  for number, event in json_files.read_lines(path, _Event, _WAY_OUT, cut=True):
    of = event["stage"].partition("-")[0]
    if not of.isdecimal():
      raise UserError(
        f"{path}, line {number} has a stage without a number: {_WAY_OUT}"
      )
    if (int(of), event["step"]) <= (stage, step):
      lines.append(json_text(event) + "\n")
  with replacing(path) as file:
    file.write("".join(lines))


class _Board:
  """TensorBoard's event file, written without a thread.

  The library's own writer has a thread, which dies if the disk is full; then
  the run waits for ever.
  """

  def __init__(self, folder: Path, purge_step: int) -> None:
    self._folder = folder
    with writing(folder):
      folder.mkdir(parents=True, exist_ok=True)
      self._writer = EventsWriter(str(folder / "events"))
    # TensorBoard hides events of an earlier process from this step on.
    again = SessionLog(status=SessionLog.START)
    self._write(
      [Event(step=purge_step, session_log=again, wall_time=time.time())]
    )

  def add(self, metrics: Metrics, step: int) -> None:
    """Writes those of the metrics that are finite."""
    self._write(
      Event(step=step, summary=scalar(name, value), wall_time=time.time())
      for name, value in metrics.items()
      if math.isfinite(value)
    )

  def _write(self, events: Iterable[Event]) -> None:
    try:
      with writing(self._folder):
        for event in events:
          self._writer.write_event(event)
        self._writer.flush()
    except UserError:
      # Closed, or the file would write again when it is garbage-collected.
      with contextlib.suppress(OSError):
        self._writer.close()
      raise

  def close(self) -> None:
    """Closes the file."""
    with writing(self._folder):
      self._writer.close()


class _Speed(ProgressColumn):
  """Images per second."""

  def render(self, task: Task) -> Text:
    speed = task.finished_speed or task.speed
    return Text(f"{speed:,.0f} images/s" if speed else "")


def bar(console: Console | None = None) -> Progress:
  """A progress bar that counts images, with speed and time left.

  Args:
    console: where to draw it; standard output where not given.
  """
  return Progress(
    TextColumn("{task.description}", markup=False),
    BarColumn(bar_width=24),
    MofNCompleteColumn(),
    _Speed(),
    TimeRemainingColumn(elapsed_when_finished=True),
    TextColumn("{task.fields[note]}", markup=False),
    console=console or Console(),
    disable=not parallel.is_primary(),
  )


def rounded(metrics: Mapping[str, Any]) -> str:
  """Metrics in one short line."""
  return " ".join(f"{name} {value:.4g}" for name, value in metrics.items())
