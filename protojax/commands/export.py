"""Exports a trained classifier as programs that run without protojax.

  python -m protojax export --workdir=DIR --output=DIR2

writes predict.jax, maps.jax, weights.npz and prototypes.json into DIR2. The two
programs are StableHLO for CPU, CUDA and TPU, and take any number of images:
uint8 pixels of the model's size, [b, size, size, 3]. prototypes.json holds the
classes, and for each prototype its class, its weight and the patch that it was
taken from. Pruned prototypes are left out. Before anything is written, the
results of the programs are compared with those of the model.

  python -m protojax export --workdir=DIR --output=DIR2 --format=onnx

writes model.onnx, for a fixed number of images, and model.json. It takes models
that name classes or find defects.
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
  parser.add_argument(
    "--format",
    choices=("stablehlo", "onnx"),
    default="stablehlo",
    help="what to write (default: %(default)s)",
  )
  parser.add_argument(
    "--batch-size",
    type=cli.whole_number(1, 4096),
    default=1,
    metavar="N",
    help="images that model.onnx takes at once (default: %(default)s)",
  )


def run(args: argparse.Namespace) -> int:
  """Writes the programs."""
  of_format = {"stablehlo": "exporting", "onnx": "onnx_model"}
  return cli.operation(of_format[args.format]).run(args)
