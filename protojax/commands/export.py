"""Exports a trained classifier as programs that run without protojax.

  python -m protojax export --workdir=DIR --output=DIR2

writes predict.jax, maps.jax, weights.npz and prototypes.json into DIR2. The two
programs are StableHLO for CPU, CUDA and TPU, and take any number of images:
uint8 pixels of the model's size, [b, size, size, 3]. prototypes.json holds the
classes, and for each prototype its class, its weight and the patch that it was
taken from. Pruned prototypes are left out. Before anything is written, the
results of the programs are compared with those of the model.
"""

import argparse

from protojax import cli


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  parser.add_argument(
    "--output",
    required=True,
    type=cli.path,
    metavar="DIR2",
    help="folder to write to",
  )


def run(args: argparse.Namespace) -> int:
  """Writes the programs."""
  return cli.operation("exporting").run(args)
