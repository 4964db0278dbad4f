"""Trains a method: config -> method -> stages -> checkpoint.

  python train.py
  python train.py --config=configs/protopnet_folder.py --config.data.root=DIR
  python train.py --config=configs/protopnet_photos.py:debug --workdir=DIR
  python train.py --config.seeds=5

The config is a Python file; --config.KEY=VALUE changes one of its values, and a
word after a colon, such as :debug, chooses a variant. If a run was interrupted,
the same command continues it.
"""

import argparse
from pathlib import Path

from protojax import configuration, parallel, training
from protojax.engine import seeds

_CONFIG = "configs/protopnet_photos.py"


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "--config",
    default=_CONFIG,
    metavar="FILE",
    help=f"config file, with :VARIANT if it has some; {_CONFIG} by default",
  )
  parser.add_argument(
    "--workdir",
    default="",
    metavar="DIR",
    help="folder of the run; runs/<config name> by default",
  )
  parser.add_argument(
    "--init-from",
    default="",
    metavar="DIR",
    help="start from the model of the run in this folder",
  )
  parser.add_argument(
    "--distributed",
    action="store_true",
    help="this process is one of several that train together",
  )
  # --config.KEY=VALUE: which keys there are, the config file decides.
  parser.set_defaults(undeclared=[])


def run(args: argparse.Namespace) -> int:
  """Trains, or continues, the run of every seed; writes WORKDIR/summary.json.

  Raises:
    UserError: something is wrong with the config, the data or the folder.
  """
  config = configuration.load(
    args.config, args.undeclared, init_from=args.init_from
  )
  parallel.setup(args.distributed)
  folder = Path(args.workdir or f"runs/{configuration.name(args.config)}")
  runs = seeds.runs(folder, config)
  for place, of_seed in runs.items():
    if status := training.train(place, of_seed):
      return status
  if len(runs) > 1 and parallel.is_primary():
    seeds.show(seeds.write(folder, list(runs)))
  return 0
