"""Runs the stages of a method in order; resumes where a run stopped."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import contextlib
import dataclasses
from pathlib import Path
import signal
import time
from types import MappingProxyType
from typing import Any

import jax

from protojax import parallel, signals
from protojax.engine import assets as assets_lib
from protojax.engine import finite
from protojax.engine.assets import Assets
from protojax.engine.checkpoint import Checkpoints, Progress, unflatten
from protojax.engine.descent import Update, fit
from protojax.engine.log import Log, Piped, bar, rounded, stage_line
from protojax.engine.stage import Fit, Pass
from protojax.types import Metrics, PyTree, State, UserError

# A long epoch is also logged after every so many steps.
_LOG_STEPS = 100


class Interrupted(Exception):
  """A signal stopped the run, which was saved."""

  def __init__(self, signal_number: int, where: str) -> None:
    super().__init__(where)
    self.signal_number = signal_number


@dataclasses.dataclass
class Run:
  """One training run: its state, its progress, and its folder.

  Attributes:
    workdir: the folder.
    seed: of all random numbers.
    save_seconds: time after which a checkpoint is written within a stage; the
      end of a stage writes one, too.
    loggers: names of those that take the metrics; see `engine.loggers`.
    settings: what they show of the config.
  """

  workdir: Path
  seed: int
  save_seconds: float = 60.0
  loggers: Sequence[str] = ("tensorboard",)
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    self.checkpoints = Checkpoints(self.workdir)
    self.progress = Progress()
    self.optimizers: dict[str, PyTree] = {}
    self.best: State | None = None
    self.assets: dict[str, PyTree] = {}
    self._saved = time.monotonic()
    self._signal = 0

  def run_stages(
    self,
    init: Callable[[jax.Array], State],
    stages: Iterable[Fit | Pass],
    evaluate: Callable[[State], Metrics],
    adopt: Callable[[State], State] = lambda state: state,
    validate: Callable[[State], Metrics] | None = None,
    assets: Assets = MappingProxyType({}),
    init_from: str = "",
  ) -> State:
    """Runs all stages that are not done yet.

    Args:
      init: key -> a state.
      stages: of the method.
      evaluate: state -> metrics; called after every stage.
      adopt: fresh state -> the state to start from, such as with arrays of
        another run.
      validate: state -> metrics on the validation images; they end stages with
        patience.
      assets: what the method declares; every function of a state gets them in
        it.
      init_from: workdir of the run whose assets are taken over; '' for none.

    Returns:
      The final state, with its assets.

    Raises:
      Interrupted: SIGTERM or SIGINT came; the run was saved.
      UserError: a checkpoint could not be read or written.
    """
    stages, self._evaluate, self._validate = list(stages), evaluate, validate
    key = parallel.key(self.seed)
    self._begin(init, stages, adopt, assets, init_from)
    progress = self.progress
    self.log = Log(
      self.workdir,
      progress.stage,
      progress.step,
      progress.total_steps,
      self.loggers,
      self.settings,
    )
    with self._signals(), bar() as self._bar:
      for number, stage in enumerate(stages, 1):
        if number >= progress.stage:
          self._stage(
            f"{number:02d}-{slug(stage.name)}",
            stage,
            jax.random.fold_in(key, number),
          )
      if not progress.finished:
        progress.finished = True
        self._save()
    self.log.close()
    self.checkpoints.close()
    return self._whole

  def _begin(
    self,
    init: Callable[[jax.Array], State],
    stages: list[Fit | Pass],
    adopt: Callable[[State], State],
    declared: Assets,
    init_from: str,
  ) -> None:
    """A fresh state, or that of the newest checkpoint; and the assets."""
    arrays: Mapping[str, Any] = {}
    if self.checkpoints.exists():
      arrays = self._restore(init, stages)
    else:
      fresh = jax.jit(init)(parallel.init_key(self.seed))
      self.state = adopt(parallel.to_host(fresh))
    trees, self.progress.assets = assets_lib.at_start(
      declared, self.workdir, self.progress.assets, arrays, init_from
    )
    self._declared = declared
    self._install(trees)

  @property
  def _whole(self) -> State:
    """The state as functions of a model see it: with the assets."""
    return self.state.replace(assets=self.assets)

  def _install(self, trees: Mapping[str, PyTree]) -> None:
    """Puts assets on the devices, for the whole run."""
    for name, tree in trees.items():
      megabytes = assets_lib.size(tree) / 1e6
      parallel.say(f"{name}: {megabytes:,.3g} MB on each device, not trained")
    self.assets = {**self.assets, **parallel.replicate(dict(trees))}

  def finished(self) -> bool:
    """Whether an earlier command has done all stages."""
    return self.checkpoints.exists() and self.checkpoints.progress().finished

  def _restore(
    self, init: Callable[[jax.Array], State], stages: list[Fit | Pass]
  ) -> dict[str, Any]:
    """Takes up the newest checkpoint; returns its arrays."""
    self.progress, arrays = self.checkpoints.restore()
    template = jax.eval_shape(init, parallel.init_key(self.seed))
    self.state = unflatten({"state": template}, arrays)["state"]
    if self.progress.best:
      self.best = unflatten({"best": template}, arrays)["best"]
    for number, stage in enumerate(stages[: self.progress.stage], 1):
      name = _optimizer_name(f"{number:02d}-{slug(stage.name)}", stage)
      stored = f"optimizers.{name}."
      saved = any(array.startswith(stored) for array in arrays)
      if isinstance(stage, Fit) and saved:
        moments = jax.eval_shape(stage.optimizer.init, template.params)
        tree = {"optimizers": {name: moments}}
        self.optimizers[name] = unflatten(tree, arrays)["optimizers"][name]
    return arrays

  def _stage(self, stage_id: str, stage: Fit | Pass, key: jax.Array) -> None:
    """Runs one stage, measures the state, and saves."""
    progress = self.progress
    began = time.monotonic() - progress.seconds
    if isinstance(stage, Fit):
      metrics = self._fit(stage_id, stage, key, began)
      images = progress.step * stage.batch_size
    else:
      metrics = self._pass(stage_id, stage)
      images = len(stage.data)
    # Training ends here: its speed does not include the measurement below.
    seconds = time.monotonic() - began
    measured = self._measure(stage_id, stage, "test", self._evaluate)
    done: dict[str, Any] = {
      "id": stage_id,
      "seconds": seconds,
      "images_per_second": images / seconds if seconds else 0.0,
      "metrics": {**metrics, **measured},
    }
    if progress.best:
      done["validation"], self.best = progress.best, None
      progress.best = {}
    elif self._validate:
      done["validation"] = self._measure(
        stage_id, stage, "validation", self._validate
      )
    progress.stages.append(done)
    if parallel.is_primary():
      console = self._bar.console
      # What was measured of test images comes first, and is not overwritten.
      told = {**measured, **metrics, **measured}
      line = stage_line(stage_id, told, seconds, images)
      console.print(line(console.width))
    if not (isinstance(stage, Fit) and stage.optimizer_id):
      self.optimizers.pop(stage_id, None)
    progress.stage, progress.step, progress.seconds = progress.stage + 1, 0, 0.0
    self._save()

  def _measure(
    self,
    stage_id: str,
    stage: Fit | Pass,
    split: str,
    measure: Callable[[State], Metrics],
  ) -> Metrics:
    """Metrics of the current state; also logged."""
    progress = self.progress
    metrics = measure(self._whole)
    self.log.event(
      stage_id,
      progress.step // _epoch(stage),
      max(progress.step, 1),
      split,
      metrics,
      progress.total_steps,
    )
    return metrics

  def _pass(self, stage_id: str, stage: Pass) -> Metrics:
    task = self._bar.add_task(stage_id, total=None, note="")
    state, metrics, *made = stage.sweep(self._whole, stage.data)
    self.state = state.replace(assets={})
    finite.require_state(stage_id, 1, self.state)
    for trees in made:
      finite.require_arrays(stage_id, 1, trees)
      self.progress.assets |= assets_lib.of_stage(
        self._declared, self.workdir, stage_id, trees
      )
      self._install(trees)
    self._bar.remove_task(task)
    if metrics:
      self.log.event(
        stage_id, 0, 1, "train", metrics, self.progress.total_steps
      )
    return metrics

  def _fit(
    self, stage_id: str, stage: Fit, key: jax.Array, began: float
  ) -> Metrics:
    progress, name = self.progress, _optimizer_name(stage_id, stage)
    if name not in self.optimizers:
      # One program, which is kept for the next start: op by op, each shape
      # would be compiled at every start.
      begin = jax.jit(stage.optimizer.init)
      self.optimizers[name] = begin(self.state.params)
    size = stage.batch_size
    task = self._bar.add_task(
      stage_id,
      total=stage.total_steps * size,
      completed=progress.step * size,
      note="",
    )
    pending: list[Mapping[str, jax.Array]] = []
    metrics: Metrics = {}
    piped = Piped(self._bar.console, stage_id, stage.total_steps)
    for update in fit(
      stage, self._whole, self.optimizers[name], key, progress.step
    ):
      if pending:
        # At most one step ahead of the devices.
        jax.block_until_ready(pending[-1])
        finite.require_loss(stage_id, progress.step, pending[-1]["loss"])
      pending.append(update.metrics)
      progress.step += 1
      progress.total_steps += 1
      self._bar.advance(task, size)
      piped(progress.step, metrics)
      within = progress.step % _epoch(stage)
      last = progress.step == stage.total_steps
      if within == 0 and stage.patience:
        self._fetch(stage_id, stage, update, pending, began)
        last = self._out_of_patience(stage_id, stage) or last
      if last or within == 0 or within % _LOG_STEPS == 0:
        metrics = self._log_mean(stage_id, stage, pending)
        self._bar.update(task, note=rounded(metrics))
      if last or self._should_save():
        self._fetch(stage_id, stage, update, pending, began)
        if not last:
          self._save()
      if last:
        break
    if self.best is not None:
      self.state = self.best
    self._bar.remove_task(task)
    return metrics

  def _out_of_patience(self, stage_id: str, stage: Fit) -> bool:
    """Whether the best epoch is `patience` epochs ago; stores its state."""
    assert self._validate is not None, "patience needs images to validate on"
    progress, epoch = self.progress, self.progress.step // _epoch(stage)
    found = self._measure(stage_id, stage, "validation", self._validate)
    name, wanted = stage.monitor
    if name not in found:
      raise UserError(
        f"the stage {stage.name!r} watches {name!r} on the validation images;"
        f" there are {', '.join(found)}."
      )
    finite.require_metric(stage_id, progress.step, name, found[name])
    sign = 1.0 if wanted == "max" else -1.0
    if not progress.best or sign * (found[name] - progress.best[name]) > 0:
      progress.best, self.best = {**found, "epoch": epoch}, self.state
    return epoch - progress.best["epoch"] >= stage.patience

  def _fetch(
    self,
    stage_id: str,
    stage: Fit,
    update: Update,
    pending: list[Mapping[str, jax.Array]],
    began: float,
  ) -> None:
    """Brings the results of a step to the host."""
    self._sum(stage_id, pending)
    name = _optimizer_name(stage_id, stage)
    self.state, self.optimizers[name] = update.on_host(stage.sharding)
    finite.require_state(stage_id, self.progress.step, self.state)
    self.progress.seconds = time.monotonic() - began

  def _sum(self, stage_id: str, pending: list[Mapping[str, jax.Array]]) -> None:
    """Adds pending metrics in order, so that a resumed sum is the same."""
    first = self.progress.step - len(pending) + 1
    for step, metrics in enumerate(parallel.to_host(pending), first):
      finite.require_loss(stage_id, step, metrics["loss"])
      for key, value in metrics.items():
        self.progress.sums[key] = self.progress.sums.get(key, 0.0) + float(
          value
        )
      self.progress.counted += 1
    pending.clear()

  def _log_mean(
    self, stage_id: str, stage: Fit, pending: list[Mapping[str, jax.Array]]
  ) -> Metrics:
    progress = self.progress
    self._sum(stage_id, pending)
    mean = {k: v / progress.counted for k, v in progress.sums.items()}
    progress.sums, progress.counted = {}, 0
    epoch = -(-progress.step // _epoch(stage))
    self.log.event(
      stage_id, epoch, progress.step, "train", mean, progress.total_steps
    )
    return mean

  def _should_save(self) -> bool:
    due = time.monotonic() - self._saved > self.save_seconds
    return parallel.any_process(due or bool(self._signal))

  def _save(self) -> None:
    self.checkpoints.save(self.progress, self.state, self.optimizers, self.best)
    self._saved = time.monotonic()
    if parallel.any_process(bool(self._signal)) and not self.progress.finished:
      self.log.close()
      self.checkpoints.close()
      raise Interrupted(
        self._signal or signal.SIGTERM,
        f"stage {self.progress.stage}, step {self.progress.step}",
      )

  @contextlib.contextmanager
  def _signals(self) -> Any:
    """SIGTERM, SIGINT and SIGHUP stop the run at its next step."""

    def remember(number: int, frame: object) -> None:
      del frame
      self._signal = number

    with signals.handled(remember):
      yield


def _epoch(stage: Fit | Pass) -> int:
  return stage.steps_per_epoch if isinstance(stage, Fit) else 1


def _optimizer_name(stage_id: str, stage: Fit | Pass) -> str:
  if isinstance(stage, Pass):
    return ""
  return stage.optimizer_id or stage_id


def slug(name: str) -> str:
  """A stage's name as it is in its id: `last layer` -> `last-layer`."""
  return "-".join(name.lower().split())
