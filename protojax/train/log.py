"""What a run says while it trains: metrics.jsonl, TensorBoard, a bar."""

from collections.abc import Mapping
import contextlib
import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console
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
from tensorboardX import SummaryWriter

from protojax import parallel
from protojax.types import Metrics


class Log:
  """Events of one run; only the primary process writes.

  On resume, events past the restored position are cut, so that every (stage,
  step, split) stands once.

  Args:
    workdir: the run's folder.
    stage: number of the stage the run goes on with, from 1.
    step: steps of that stage that are done.
    total_steps: steps done in all stages.
  """

  def __init__(
    self, workdir: Path, stage: int = 1, step: int = 0, total_steps: int = 0
  ) -> None:
    self._writing = parallel.is_primary()
    if not self._writing:
      return
    workdir.mkdir(parents=True, exist_ok=True)
    self._path = workdir / "metrics.jsonl"
    _cut(self._path, stage, step)
    self._file = self._path.open("a")
    self._board = SummaryWriter(
      str(workdir / "tensorboard"), purge_step=total_steps + 1
    )

  def event(
    self,
    stage: str,
    epoch: int,
    step: int,
    split: str,
    metrics: Metrics,
    total_steps: int,
  ) -> None:
    """Appends one event: `step` steps of the stage are done."""
    if not self._writing:
      return
    position = {"stage": stage, "epoch": epoch, "step": step, "split": split}
    self._file.write(json.dumps({**position, **metrics}) + "\n")
    self._file.flush()
    for name, value in metrics.items():
      if math.isfinite(value):
        self._board.add_scalar(f"{split}/{name}", value, total_steps)

  def close(self) -> None:
    """Flushes and closes the files."""
    if self._writing:
      self._file.close()
      self._board.close()


def _cut(path: Path, stage: int, step: int) -> None:
  """Drops events past a position, and a last line that was torn."""
  if not path.exists():
    return
  kept = []
  for line in path.read_text().splitlines():
    with contextlib.suppress(ValueError, KeyError):
      event = json.loads(line)
      if (int(event["stage"].split("-")[0]), event["step"]) <= (stage, step):
        kept.append(line + "\n")
  temporary = path.with_name(f".{path.name}.tmp")
  temporary.write_text("".join(kept))
  temporary.replace(path)


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
    TextColumn("{task.description}"),
    BarColumn(bar_width=24),
    MofNCompleteColumn(),
    _Speed(),
    TimeRemainingColumn(elapsed_when_finished=True),
    TextColumn("{task.fields[note]}"),
    console=console,
    disable=not parallel.is_primary(),
  )


def rounded(metrics: Mapping[str, Any]) -> str:
  """Metrics in one short line."""
  return " ".join(f"{name} {value:.4g}" for name, value in metrics.items())
