"""Checkpoints: whole states on disk, as NumPy, written atomically by Orbax.

Arrays are stored under flat names (`state.params.head.weight`), so that a
checkpoint can be read without the code that wrote it, and are laid back into
a template's tree on restore. The number of devices does not enter.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import logging
from pathlib import Path
import sys
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from protojax import parallel, writing
from protojax.types import ArrayLike, PyTree, State, UserError


@dataclasses.dataclass
class Progress:
  """Where a run stands.

  Attributes:
    stage: number of the stage to do next or to go on with, from 1.
    step: steps of it that are done.
    seconds: time spent on it so far.
    sums: sums over the steps since the last event of the log.
    counted: how many steps those sums hold.
    total_steps: steps done in all stages.
    best: what the best epoch of a stage with patience reached on the validation
      images, and its number as "epoch"; empty in other stages.
    stages: what the finished stages left: id, seconds, images, metrics.
    finished: whether no stage is left.
  """

  stage: int = 1
  step: int = 0
  seconds: float = 0.0
  sums: dict[str, float] = dataclasses.field(default_factory=dict)
  counted: int = 0
  total_steps: int = 0
  best: dict[str, float] = dataclasses.field(default_factory=dict)
  stages: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  finished: bool = False


def flatten(tree: PyTree) -> dict[str, np.ndarray]:
  """Names every array of a tree; arrays of size zero are left out."""
  leaves = jax.tree_util.tree_leaves_with_path(parallel.to_host(tree))
  flat = {_name(path): np.asarray(leaf) for path, leaf in leaves}
  # Orbax refuses them, and a template knows them already.
  return {name: array for name, array in flat.items() if array.size}


def unflatten(template: PyTree, arrays: Mapping[str, ArrayLike]) -> PyTree:
  """Lays named arrays into the tree of a template of shapes.

  Raises:
    UserError: an array is missing or has another shape.
  """
  wrong = []

  def take(path: tuple, leaf: Any) -> ArrayLike | None:
    name = _name(path)
    if not np.prod(leaf.shape, dtype=int):
      return np.zeros(leaf.shape, leaf.dtype)
    if name not in arrays:
      wrong.append(f"{name} is missing")
    elif arrays[name].shape != leaf.shape:
      wrong.append(
        f"{name} has shape {arrays[name].shape}, expected {leaf.shape}"
      )
    return arrays.get(name)

  tree = jax.tree_util.tree_map_with_path(take, template)
  if wrong:
    raise UserError(
      f"the checkpoint does not fit the model: {'; '.join(wrong[:5])}"
      f"{f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''}. It was"
      " written by another version or config."
    )
  return tree


def _name(path: tuple) -> str:
  return jax.tree_util.keystr(path, simple=True, separator=".")


class Checkpoints:
  """The checkpoints of one run, numbered in the order they were written."""

  def __init__(self, workdir: Path) -> None:
    self.folder = Path(workdir).absolute() / "checkpoints"
    self._manager: ocp.CheckpointManager | None = None

  def _open(self) -> ocp.CheckpointManager:
    if self._manager is None:
      # Not in the background: after a failure its threads would wait for
      # minutes, and the process with them.
      options = ocp.CheckpointManagerOptions(
        max_to_keep=2, enable_async_checkpointing=False
      )
      self._manager = ocp.CheckpointManager(self.folder, options=options)
    return self._manager

  def save(
    self,
    progress: Progress,
    state: State,
    optimizers: Mapping[str, PyTree],
    best: State | None = None,
  ) -> None:
    """Writes a checkpoint; returns when it is safe on disk.

    Args:
      progress: where the run stands.
      state: there.
      optimizers: moments and counts, by name.
      best: the state that `progress.best` is of.

    Raises:
      UserError: it could not be written, for example on a full disk.
    """
    kept = {"state": state, "optimizers": dict(optimizers), "best": best}
    arrays = flatten(kept)
    before = None
    try:
      with _quietly():
        manager = self._open()
        before = manager.latest_step()
        manager.save(
          (before or 0) + 1,
          args=ocp.args.Composite(
            arrays=ocp.args.StandardSave(arrays),
            progress=ocp.args.JsonSave(dataclasses.asdict(progress)),
          ),
          force=True,
        )
        manager.wait_until_finished()
    except (OSError, ValueError, RuntimeError) as error:
      raise writing.failure(
        f"the checkpoint in {self.folder}",
        error,
        "The one before it is intact, to go on from there." if before else "",
      ) from error

  def exists(self) -> bool:
    """Whether there is a finished checkpoint.

    Raises:
      UserError: the folder cannot be read.
    """
    try:
      return self.folder.is_dir() and self._open().latest_step() is not None
    except OSError as error:
      raise UserError(
        f"{self.folder} could not be read: {writing.reason(error)}. Make it"
        " readable, or take another folder with --workdir."
      ) from error

  def restore(self) -> tuple[Progress, dict[str, np.ndarray]]:
    """The newest checkpoint: where the run stands, and the arrays by name.

    Raises:
      UserError: there is none, or it is damaged.
    """
    restored = self._read(
      progress=ocp.args.JsonRestore(), arrays=ocp.args.StandardRestore()
    )
    return restored["progress"], dict(restored["arrays"])

  def progress(self) -> Progress:
    """Where the run stands by its newest checkpoint; reads no array.

    Raises:
      UserError: there is none, or it is damaged.
    """
    return self._read(progress=ocp.args.JsonRestore())["progress"]

  def _read(self, **items: Any) -> dict[str, Any]:
    if not self.exists():
      raise UserError(
        f"{self.folder} holds no checkpoint; train first with"
        " `python train.py --workdir=...`."
      )
    manager = self._open()
    number = manager.latest_step()
    try:
      restored = manager.restore(number, args=ocp.args.Composite(**items))
      return {**restored, "progress": Progress(**restored["progress"])}
    except Exception as error:
      # Orbax and TensorStore raise whatever their parsers meet.
      raise UserError(
        f"checkpoint {self.folder / str(number)} is damaged"
        f" ({type(error).__name__}: {writing.first_line(error)}); delete that"
        " folder to go on from the one before it."
      ) from error

  def close(self) -> None:
    """Lets go of the folder."""
    if self._manager is not None:
      self._manager.close()
      self._manager = None


def restore_state(workdir: Path, template: State) -> tuple[State, Progress]:
  """The newest state of a run, laid into a template of shapes.

  Raises:
    UserError: no checkpoint, a damaged one, or one of another model.
  """
  checkpoints = Checkpoints(workdir)
  progress, arrays = checkpoints.restore()
  checkpoints.close()
  return unflatten({"state": template}, arrays)["state"], progress


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
  """Keeps off the screen what threads say of a failure that `save` raises.

  After one they stay unheard: their writes are still under way, end one after
  the other, and each would be told of with a traceback.
  """
  loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
  show = sys.unraisablehook

  def show_others(unraisable: Any) -> None:
    # What TensorStore tells an event loop that Orbax closed at a failure.
    if str(unraisable.exc_value) != "Event loop is closed":
      show(unraisable)

  for logger in loggers:
    logger.addFilter(_is_no_error)
  sys.unraisablehook = show_others
  yield
  sys.unraisablehook = show
  for logger in loggers:
    logger.removeFilter(_is_no_error)


def _is_no_error(record: logging.LogRecord) -> bool:
  return record.levelno < logging.ERROR
