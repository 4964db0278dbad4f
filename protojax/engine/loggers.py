"""Where the numbers of a run go beside metrics.jsonl: `train --logger=NAMES`.

A logger has `add(metrics, step)` and `close()`. Another one is another class
with these two, and its name in `_LOGGERS`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import contextlib
import importlib
import math
from pathlib import Path
import time
from typing import Any, Protocol, TypedDict, runtime_checkable

# Protocol buffers make their classes at import.
from tensorboardX.event_file_writer import EventsWriter

# pyrefly: ignore[missing-module-attribute]
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from protojax import json_files
from protojax.types import Metrics, UserError
from protojax.writing import json_text, replacing, writing

# What this library calls its project or experiment there.
_PROJECT = "protojax"
# File of the run -> the ids under which its numbers go on after a restart.
_IDS = "loggers.json"


@runtime_checkable
class Logger(Protocol):
  """Takes the numbers of a run."""

  def add(self, metrics: Metrics, step: int) -> None:
    """Adds metrics ("split/name" -> value) after so many steps in all."""
    ...

  def close(self) -> None:
    """Ends the log; it may go on in another process."""
    ...


def opened(
  names: Sequence[str], workdir: Path, settings: Mapping[str, Any], step: int
) -> list[Logger]:
  """The loggers of these names.

  Args:
    names: such as ("tensorboard", "wandb").
    workdir: folder of the run.
    settings: key of the config -> value, shown beside the numbers.
    step: steps in all that are done.

  Raises:
    UserError: a package is not installed, or the folder cannot be written to.
  """
  return [_LOGGERS[name](workdir, settings, step) for name in names]


class TensorBoard:
  """TensorBoard's event file, written without a thread.

  The library's own writer has a thread, which dies if the disk is full; then
  the run waits for ever.
  """

  def __init__(
    self, workdir: Path, settings: Mapping[str, Any], step: int
  ) -> None:
    del settings
    self._folder = workdir / "tensorboard"
    with writing(self._folder):
      self._folder.mkdir(parents=True, exist_ok=True)
      self._writer = EventsWriter(str(self._folder / "events"))
    # TensorBoard hides events of an earlier process from this step on.
    again = SessionLog(status=SessionLog.START)
    self._write(
      [Event(step=step + 1, session_log=again, wall_time=time.time())]
    )

  def add(self, metrics: Metrics, step: int) -> None:
    """Writes those of the metrics that are finite."""
    self._write(
      Event(step=step, summary=scalar(name, value), wall_time=time.time())
      for name, value in _finite(metrics).items()
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


class Wandb:
  """A run of Weights & Biases, named like the folder.

  WANDB_PROJECT and the library's other variables hold; WANDB_MODE=offline
  needs no network.
  """

  def __init__(
    self, workdir: Path, settings: Mapping[str, Any], step: int
  ) -> None:
    del step
    known = _ids(workdir)
    self._run = _module("wandb").init(
      project=_PROJECT,
      name=workdir.name,
      dir=str(workdir),
      id=known.get("wandb"),
      resume="allow",
      config=dict(settings),
    )
    _remember(workdir, known, "wandb", self._run.id)

  def add(self, metrics: Metrics, step: int) -> None:
    """Sends those that are finite; steps before the last one are dropped."""
    self._run.log(_finite(metrics), step=step)

  def close(self) -> None:
    """Ends the run there."""
    self._run.finish()


class Mlflow:
  """A run of MLflow, named like the folder; MLFLOW_TRACKING_URI says where."""

  def __init__(
    self, workdir: Path, settings: Mapping[str, Any], step: int
  ) -> None:
    del step
    self._mlflow, known = _module("mlflow"), _ids(workdir)
    self._mlflow.set_experiment(_PROJECT)
    run = self._mlflow.start_run(
      run_id=known.get("mlflow"), run_name=workdir.name
    )
    if "mlflow" not in known:
      self._mlflow.log_params(dict(settings))
    _remember(workdir, known, "mlflow", run.info.run_id)

  def add(self, metrics: Metrics, step: int) -> None:
    """Sends those that are finite."""
    self._mlflow.log_metrics(_finite(metrics), step=step)

  def close(self) -> None:
    """Ends the run there."""
    self._mlflow.end_run()


_LOGGERS: Mapping[str, Callable[[Path, Mapping[str, Any], int], Logger]] = {
  "tensorboard": TensorBoard,
  "wandb": Wandb,
  "mlflow": Mlflow,
}


class _Ids(TypedDict, total=False):
  """The content of loggers.json."""

  wandb: str
  mlflow: str


def _ids(workdir: Path) -> _Ids:
  path = workdir / _IDS
  return json_files.read_json(path, _Ids) if path.exists() else {}


def _remember(workdir: Path, known: _Ids, name: str, value: str) -> None:
  with replacing(workdir / _IDS) as file:
    file.write(json_text({**known, name: value}) + "\n")


def _module(name: str) -> Any:
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    raise UserError(
      f"--logger={name} needs the package {name}, which is not installed:"
      f" python -m pip install 'protojax[{name}]'"
    ) from error


def _finite(metrics: Metrics) -> dict[str, float]:
  return {n: float(x) for n, x in metrics.items() if math.isfinite(x)}
