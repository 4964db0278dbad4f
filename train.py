"""Trains a method: config -> method -> stages -> checkpoint.

python train.py
python train.py --config=configs/protopnet_folder.py --config.data.root=DIR
python train.py --config=configs/protopnet_photos.py:debug --workdir=DIR
python train.py --config.seeds=5

The same command goes on where a run was interrupted.
"""

from pathlib import Path

from absl import flags

from protojax import configuration, parallel, training
from protojax.engine import seeds

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
    if status := training.train(place, of_seed):
      return status
  if len(runs) > 1 and parallel.is_primary():
    seeds.show(seeds.write(folder, list(runs)))
  return 0


if __name__ == "__main__":
  configuration.run(main)
