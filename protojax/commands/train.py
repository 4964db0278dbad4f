"""Trains a method: config -> method -> stages -> checkpoint.

  python train.py
  python train.py --config=configs/protopnet_folder.py --config.data.root=DIR
  python train.py --config=configs/protopnet_photos.py:debug --workdir=DIR
  python train.py --config.seeds=5

The config is a Python file; --config.KEY=VALUE changes one of its values, and a
word after a colon, such as :debug, chooses a variant. If a run was interrupted,
the same command continues it. `python -m protojax train` is the same command.
"""

import argparse

from protojax import cli

_CONFIG = "protopnet_photos"
# `engine.loggers`, which takes long to import.
_LOGGERS = ("tensorboard", "wandb", "mlflow")
# Flag -> what it counts, and the largest number. More devices than these take
# minutes to make up.
_PLANNED = {
  "--devices": ("devices to plan for; 1 by default", 8_192),
  "--assume-classes": ("classes of data that are not there", 1_000_000),
  "--assume-images": ("training images of data that are not there", 10**9),
}


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "--config",
    default=_CONFIG,
    type=cli.path,
    metavar="FILE",
    help=f"config file, with :VARIANT if it has some; {_CONFIG} by default",
  )
  parser.add_argument(
    "--workdir",
    default="",
    type=cli.path,
    metavar="DIR",
    help="folder of the run; runs/<config name> by default",
  )
  parser.add_argument(
    "--init-from",
    default="",
    type=cli.path,
    metavar="DIR",
    help="start from the model of the run in this folder",
  )
  parser.add_argument(
    "--logger",
    type=_loggers,
    default=["tensorboard"],
    metavar="NAMES",
    help="what takes the metrics beside metrics.jsonl, separated by commas:"
    f" {', '.join(_LOGGERS)}, or none; tensorboard by default",
  )
  parser.add_argument(
    "--distributed",
    action="store_true",
    help="this process is one of several that train together",
  )
  parser.add_argument(
    "--dry-run",
    action="store_true",
    help="print parameters, steps, work and memory, and what is missing; train"
    " nothing, write nothing",
  )
  for flag, (of, most) in _PLANNED.items():
    parser.add_argument(
      flag,
      type=cli.whole_number(1, most),
      default=0,
      metavar="N",
      help=f"for --dry-run: {of}",
    )
  # --config.KEY=VALUE: which keys there are, the config file decides.
  parser.set_defaults(undeclared=[])


def run(args: argparse.Namespace) -> int:
  """Trains, or continues, the run of every seed."""
  return cli.operation("training").run(args)


def _loggers(text: str) -> list[str]:
  names = [] if text == "none" else text.split(",")
  for name in names:
    if name not in _LOGGERS:
      raise argparse.ArgumentTypeError(
        f"{name:.40} is no logger; there are {', '.join(_LOGGERS)}, and none"
      )
  return list(dict.fromkeys(names))
