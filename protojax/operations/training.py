"""Training: config -> method -> stages -> checkpoint."""

import argparse
from collections.abc import Sequence
import functools
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from protojax import (
  configuration,
  datasets,
  loading,
  methods,
  parallel,
  printing,
  typed,
)
from protojax.data import skipped
from protojax.engine import adopt, plan, plan_tables, seeds, summary, workdir
from protojax.engine.run import Interrupted, Run
from protojax.explain import familiarity
from protojax.methods.base import able
from protojax.prototypes.groups import FAVOURITE
from protojax.types import UserError


def run(args: argparse.Namespace) -> int:
  """Trains, or continues, the run of every seed; writes WORKDIR/summary.json.

  Raises:
    UserError: something is wrong with the config, the data or the folder.
  """
  config = configuration.load(
    args.config, args.undeclared, init_from=args.init_from
  )
  if args.dry_run:
    return _dry_run(config, args)
  if args.devices or args.assume_classes or args.assume_images:
    raise UserError(
      "--devices, --assume-classes, --assume-images are for --dry-run"
    )
  parallel.setup(args.distributed)
  folder = Path(args.workdir or f"runs/{configuration.name(args.config)}")
  runs = seeds.runs(folder, config)
  for place, of_seed in runs.items():
    if status := train(place, of_seed, loggers=args.logger):
      return status
  if len(runs) > 1 and parallel.is_primary():
    seeds.show(seeds.write(folder, list(runs)))
  return 0


def _dry_run(config: ConfigDict, args: argparse.Namespace) -> int:
  """Prints the plan of the run."""
  parallel.rehearse(args.devices or 1)
  method = methods.load(config, None)
  plan_tables.show(
    plan.of_run(method, config, args.assume_classes, args.assume_images)
  )
  return 0


def train(
  folder: Path,
  config: ConfigDict,
  make: methods.Make = methods.load,
  loggers: Sequence[str] = ("tensorboard",),
) -> int:
  """Trains, or continues, the run of one seed; writes FOLDER/summary.json.

  Args:
    folder: workdir of the run.
    config: of the run, for one seed.
    make: makes the method from the config. Give your own if no config can name
      your method: `functools.partial(epic.Method, own=(backbone, head))`.
    loggers: what takes the metrics beside metrics.jsonl; see `engine.loggers`.

  Returns:
    The exit code: 0, or that of the signal that stopped it.

  Raises:
    UserError: the folder holds a run of another config or is trained in by
      another command, or a setting is wrong.
  """
  _require_apart(folder, config)
  with workdir.locked(folder):
    return _trained(folder, config, make, loggers)


def _require_apart(folder: Path, config: ConfigDict) -> None:
  """Refuses a workdir among images, where later runs take it for a class."""
  data: Any = config.get("data") or {}
  root, name = data.get("root", ""), data.get("name", "")
  if not root or not datasets.in_folder(name):
    return
  top = Path(os.path.expanduser(root)).resolve()
  place = folder.resolve()
  of_classes = hasattr(datasets.find(name), "collect")
  if not of_classes or top not in (place, *place.parents) or not top.is_dir():
    return
  # Beside the folders of splits it does no harm.
  inside = {path.name.lower() for path in top.iterdir()}
  if not {data.get(s, "").lower() for s in ("train", "test")} <= inside:
    raise UserError(
      f"--workdir={folder} lies in --config.data.root={root}, and would be read"
      " as images: name a folder outside of it"
    )


def _trained(
  folder: Path, config: ConfigDict, make: methods.Make, loggers: Sequence[str]
) -> int:
  # First, since it refuses settings that are out of range.
  method = make(config, None)
  workdir.claim(folder, config, methods.later)
  run = Run(
    folder, config.seed, config.save_seconds, loggers, _settings(config)
  )
  explain = ""
  if method.capabilities.explains is not None:
    explain = f"{typed.command('explain')} --workdir={folder}"
  if run.finished() and (folder / "summary.json").exists():
    parallel.say(
      f"This run is finished: {folder}/summary.json."
      f"{f' Explain it with `{explain}`.' if explain else ''} Use another"
      " --workdir to train again."
    )
    return 0

  class_names = _names(method)
  if class_names is not None:
    workdir.claim_classes(folder, class_names)
  parallel.say(f"{config.method} in {folder} on {parallel.describe()}")
  # Held to the end: streams of a split share decoded images while one is alive.
  streams = {split: method.stream(split) for split in method.splits}
  for line in skipped.report({k: s.source for k, s in streams.items()}):
    parallel.say(line)
  adopt_from = functools.partial(
    adopt.take_over, init_from=config.init_from, class_names=class_names
  )
  measures = {
    split: functools.partial(method.evaluate, split=split) for split in streams
  }
  try:
    state = run.run_stages(
      method.init,
      method.stages(),
      measures["test"],
      adopt_from,
      measures.get("validation"),
      method.assets,
      config.init_from,
    )
  except Interrupted as stop:
    parallel.say(
      f"Stopped by signal {stop.signal_number} at {stop}; saved. Run the"
      " same command to continue."
    )
    return 128 + stop.signal_number

  stages = run.progress.stages
  results = methods.beside(config.method, "results")
  if results is not None and parallel.is_primary():
    results.write(method, state, folder)
  images = "image_size" in (config.get("data") or {})
  if images and able(method, "classifies") is not None:
    # All processes compute it; one writes.
    known = familiarity.measure(method, state, _familiar_by(method))
    if known is not None and parallel.is_primary():
      familiarity.write(folder, known)
  outcome = summary.write(
    folder, stages, config.seed, method.summary(state, stages)
  )
  if parallel.is_primary():
    summary.show(outcome)
    if explain:
      printing.say("", f"Next: {explain}")
  return 0


def _names(method: Any) -> tuple[str, ...] | None:
  """What a run keeps to be loaded without its data: its classes, or words."""
  classes = loading.named(method)
  if classes is not None:
    return classes.class_names
  vocabulary = getattr(method, "vocabulary", None)
  return None if vocabulary is None else vocabulary.words


def _familiar_by(method: Any) -> str:
  """What says how familiar an image is to a method that classifies."""
  explains = able(method, "explains")
  if explains is None or explains.network is None:
    return familiarity.LOGIT  # No part of an image is compared with prototypes.
  channels = able(method, "classifies").groups.kind == FAVOURITE
  return familiarity.LOGIT if channels else familiarity.SIMILARITY


def _settings(config: ConfigDict) -> dict[str, Any]:
  """Key of a config, with dots -> value."""
  found: dict[str, Any] = {}
  for name, value in config.items():
    inner = _settings(value) if isinstance(value, ConfigDict) else {"": value}
    found |= {f"{name}.{key}".rstrip("."): x for key, x in inner.items()}
  return found
