"""Checkpoints: whole states on disk, as NumPy, written atomically by Orbax.

Arrays have flat names (`state.params.head.weight`), so that a checkpoint can
be read without the code that wrote it. On restore they are put back into the
tree of a template. A checkpoint does not depend on the number of devices.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import hashlib
import logging
from pathlib import Path
import shutil
import sys
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from protojax import parallel, typed, writing
from protojax.types import ArrayLike, PyTree, State, UserError

# In the name of a checkpoint that Orbax is writing.
_UNFINISHED = ".orbax-checkpoint-tmp"


@dataclasses.dataclass
class Progress:
  """Where a run stands.

  Attributes:
    stage: number of the current or next stage, from 1.
    step: steps of that stage that are done.
    seconds: time spent on that stage so far.
    sums: sums of the metrics over the steps since the last event of the log.
    counted: number of these steps.
    total_steps: steps done in all stages.
    best: metrics of the best epoch on the validation images, and its number as
      "epoch", in a stage with patience; empty in other stages.
    stages: id, seconds, images per second and metrics of each finished stage.
    finished: whether all stages are done.
    assets: the digest of each asset, by name.
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
  assets: dict[str, str] = dataclasses.field(default_factory=dict)


def flatten(tree: PyTree) -> dict[str, np.ndarray]:
  """All arrays of a tree by name; arrays of size zero are left out."""
  leaves = jax.tree_util.tree_leaves_with_path(parallel.to_host(tree))
  flat = {_name(path): np.asarray(leaf) for path, leaf in leaves}
  # Orbax refuses them, and a template holds them already.
  return {name: array for name, array in flat.items() if array.size}


def unflatten(template: PyTree, arrays: Mapping[str, ArrayLike]) -> PyTree:
  """Puts named arrays into the tree of a template, a tree of shapes.

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


def _digests(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
  """Of the bits of each array."""
  return {
    name: hashlib.blake2b(
      np.ascontiguousarray(array).data, digest_size=8
    ).hexdigest()
    for name, array in arrays.items()
  }


def _name(path: tuple) -> str:
  return jax.tree_util.keystr(path, simple=True, separator=".")


class Checkpoints:
  """The checkpoints of one run, numbered in the order they were written."""

  def __init__(self, workdir: Path) -> None:
    self.folder = Path(workdir).absolute() / "checkpoints"
    self._manager: ocp.CheckpointManager | None = None

  def _open(self) -> ocp.CheckpointManager:
    if self._manager is None:
      # Not in the background: after a failure Orbax's threads would wait for
      # minutes, and the process would wait for them.
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
      state: the current state.
      optimizers: moments and counts, by name.
      best: the state of the epoch in `progress.best`.

    Raises:
      UserError: it could not be written, for example on a full disk.
    """
    states = {"state": state, "best": best}
    # Assets are files of their own, or come with a package.
    bare = {n: s and s.replace(assets={}) for n, s in states.items()}
    arrays = flatten({**bare, "optimizers": dict(optimizers)})
    before = None
    try:
      with _quietly():
        manager = self._open()
        self._sweep()
        before = manager.latest_step()
        manager.save(
          (before or 0) + 1,
          args=ocp.args.Composite(
            arrays=ocp.args.StandardSave(arrays),
            progress=ocp.args.JsonSave(
              {**dataclasses.asdict(progress), "digests": _digests(arrays)}
            ),
          ),
          force=True,
        )
        manager.wait_until_finished()
    except (OSError, ValueError, RuntimeError) as error:
      raise writing.failure(
        f"the checkpoint in {self.folder}",
        error,
        "The one before it is intact." if before else "",
      ) from error

  def _sweep(self) -> None:
    """Deletes what killed commands left; whoever saves has locked the run."""
    # Other processes of the run come here while this one writes already.
    if parallel.is_primary():
      for left in self.folder.glob(f"*{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)

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

    If it is damaged, the one before it, which is said.

    Raises:
      UserError: there is none, or all are damaged.
    """
    restored = self._read(
      progress=ocp.args.JsonRestore(), arrays=ocp.args.StandardRestore()
    )
    return restored["progress"], dict(restored["arrays"])

  def progress(self) -> Progress:
    """Where the run stands in its newest checkpoint; reads no array.

    Raises:
      UserError: there is none, or all are damaged.
    """
    return self._read(progress=ocp.args.JsonRestore())["progress"]

  def _read(self, **items: Any) -> dict[str, Any]:
    if not self.exists():
      raise UserError(
        f"{self.folder} holds no checkpoint; train first with"
        f" `{typed.command('train')} --workdir=...`."
      )
    numbers = sorted(self._open().all_steps(), reverse=True)
    faults = []
    for number in numbers:
      try:
        with _quietly():
          restored = self._checked(number, items)
      except Exception as error:
        # Orbax and TensorStore pass on all exceptions of their parsers.
        faults.append(
          f"checkpoint {self.folder / str(number)} is damaged"
          f" ({type(error).__name__}: {writing.first_line(error)})"
        )
        continue
      for fault in faults:
        parallel.say(f"{fault}: the one before it, {number}, is taken.")
      return restored
    raise UserError(
      f"{'; '.join(faults)}: put one back from a copy, or train anew with"
      " another --workdir."
    )

  def _checked(self, number: int, items: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint whose arrays have the bits that were written."""
    args = ocp.args.Composite(**items)
    restored = {**self._open().restore(number, args=args)}
    progress = dict(restored["progress"])
    # Checkpoints of earlier versions have none.
    written = progress.pop("digests", {})
    found = _digests(restored.get("arrays", {}))
    wrong = [
      name
      for name, digest in found.items()
      if digest != written.get(name, digest)
    ]
    if wrong:
      raise ValueError(f"other bits than were written: {', '.join(wrong[:3])}")
    return {**restored, "progress": Progress(**progress)}

  def close(self) -> None:
    """Closes Orbax's manager of the folder."""
    if self._manager is not None:
      self._manager.close()
      self._manager = None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
  """Hides log messages of Orbax's threads about a save or read that failed.

  After a failure they stay hidden: what else the threads do fails, one after
  the other, each with a traceback.
  """
  loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
  show = sys.unraisablehook

  def show_others(unraisable: Any) -> None:
    # TensorStore's message to an event loop that Orbax closed after a failure.
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
