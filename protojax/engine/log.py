"""Logs a run while it trains: metrics.jsonl, loggers, progress bar."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
import time
from types import MappingProxyType
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

from protojax import json_files, parallel
from protojax.console import Console
from protojax.engine import loggers
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
    names: of the other loggers; see `loggers`.
    settings: what they show of the config.

  Raises:
    UserError: the folder cannot be written to, its disk is full, or the
      package of a logger is not installed.
  """

  def __init__(
    self,
    workdir: Path,
    stage: int = 1,
    step: int = 0,
    total_steps: int = 0,
    names: Sequence[str] = ("tensorboard",),
    settings: Mapping[str, Any] = MappingProxyType({}),
  ) -> None:
    self._writing = parallel.is_primary()
    if not self._writing:
      return
    self._path = workdir / "metrics.jsonl"
    with writing(self._path):
      workdir.mkdir(parents=True, exist_ok=True)
      _cut(self._path, stage, step)
    self._loggers = loggers.opened(names, workdir, settings, total_steps)

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
    named = {f"{split}/{name}": value for name, value in metrics.items()}
    for logger in self._loggers:
      logger.add(named, total_steps)

  def close(self) -> None:
    """Flushes and closes the files."""
    if self._writing:
      for logger in self._loggers:
        logger.close()


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


def stage_line(
  stage: str, metrics: Mapping[str, Any], seconds: float, images: int
) -> Callable[[int], str]:
  """Gives what is said at the end of a stage, in a line of a width.

  The metrics come in their order, as many as there is room for.
  """
  rate = images / seconds if seconds else 0.0
  end = f" ({seconds:.1f} s, {rate:,.0f} images/s)"

  def line(width: int) -> str:
    said = f"{stage}:"
    for name, value in metrics.items():
      more = f"{said}{',' * (said[-1] != ':')} {_words(name)} {value:.4g}"
      if len(more) + len(end) > width:
        break
      said = more
    return said + end

  return line


class Piped:
  """Says how far a stage is, once a minute, where no bar can be drawn."""

  SECONDS = 60.0

  def __init__(self, console: Any, stage: str, total: int) -> None:
    self._console, self._stage, self._total = console, stage, total
    self._said = time.monotonic()

  def __call__(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Called after a step; `metrics` are the last that are known."""
    if self._console.is_terminal or not parallel.is_primary():
      return
    now = time.monotonic()
    if now - self._said < self.SECONDS:
      return
    self._said = now
    loss = f", loss {metrics['loss']:.4g}" if "loss" in metrics else ""
    self._console.print(f"{self._stage}: {step / self._total:.0%} done{loss}")


def _words(name: str) -> str:
  """The name of a metric, as it is said."""
  return name.replace("_", " ")
