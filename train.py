"""Trains a method: config -> method -> stages -> checkpoint.

python train.py
python train.py --config=configs/protopnet_folder.py --config.data.root=DIR
python train.py --config=configs/protopnet_photos.py:debug --workdir=DIR
python train.py --config.seeds=5

The same command goes on where a run was interrupted.
"""

import functools
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from protojax import configuration, methods, parallel
from protojax.data import skipped
from protojax.methods.base import Classifies
from protojax.train import adopt, seeds, summary, workdir
from protojax.train.loop import Interrupted, Run

_CONFIG = configuration.define_flag("configs/protopnet_photos.py")
_WORKDIR = flags.DEFINE_string(
  "workdir", "", "Folder of the run; runs/<config name> where not given."
)
_INIT_FROM = flags.DEFINE_string(
  "init-from", "", "Start from the model of this workdir."
)
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Join the other processes of this run."
)


def main() -> int:
  """Trains, or goes on training, every seed; writes WORKDIR/summary.json."""
  parallel.setup(_DISTRIBUTED.value)
  config = configuration.load(_CONFIG, init_from=_INIT_FROM.value)
  folder = Path(_WORKDIR.value or f"runs/{configuration.name(_CONFIG)}")
  runs = seeds.runs(folder, config)
  for place, of_seed in runs.items():
    if status := _train(place, of_seed):
      return status
  if len(runs) > 1 and parallel.is_primary():
    seeds.show(seeds.write(folder, list(runs)))
  return 0


def _train(folder: Path, config: ConfigDict) -> int:
  """Trains one seed, or goes on training; returns the exit code."""
  workdir.claim(folder, config)
  run = Run(folder, config.seed, config.save_seconds)
  if run.finished() and (folder / "summary.json").exists():
    parallel.say(
      f"This run is finished: {folder}/summary.json. Explain it with"
      f" `python explain.py --workdir={folder}`, or take another --workdir to"
      " train anew."
    )
    return 0

  method = methods.load(config)
  class_names = None
  if isinstance(method, Classifies):
    class_names = method.class_names
    workdir.claim_classes(folder, class_names)
  parallel.say(f"{config.method} in {folder} on {parallel.describe()}")
  streams = {split: method.stream(split) for split in method.splits}
  for line in skipped.report({k: s.source for k, s in streams.items()}):
    parallel.say(line)
  adopt_from = functools.partial(
    adopt.take_over, init_from=config.init_from, class_names=class_names
  )
  measures = {
    split: functools.partial(method.evaluate, data=stream)
    for split, stream in streams.items()
  }
  try:
    state = run.train(
      method.init,
      method.stages(),
      measures["test"],
      adopt_from,
      measures.get("validation"),
    )
  except Interrupted as stop:
    parallel.say(
      f"Stopped by signal {stop.signal_number} at {stop}; saved. Run the"
      " same command to go on from there."
    )
    return 128 + stop.signal_number

  stages = run.progress.stages
  outcome = summary.write(
    folder, stages, config.seed, method.summary(state, stages)
  )
  if parallel.is_primary():
    summary.show(outcome)
    print(f"\nNext: python explain.py --workdir={folder}")
  return 0


if __name__ == "__main__":
  configuration.run(main)
