"""Turns the three files of a CaBRNet experiment into one config.

  python -m protojax import-config DIR --output=configs/mine.py

DIR holds the files model_arch.yml, dataset.yml and training.yml of a ProtoPNet.
Keys that have no counterpart in protojax are printed with their values. Train
with the new config:

  python train.py --config=configs/mine.py --workdir=RUN
"""

import argparse

from protojax import cli


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "folder", type=cli.path, metavar="DIR", help="folder of the three files"
  )
  parser.add_argument(
    "--output",
    required=True,
    type=cli.path,
    metavar="FILE",
    help="config to write, a .py",
  )


def run(args: argparse.Namespace) -> int:
  """Writes the config; prints to stderr which keys were left out."""
  return cli.operation("translating").run(args)
