"""Publishes a trained run on the Hugging Face hub.

  python -m protojax publish hf:owner/name --workdir=DIR --license=apache-2.0

writes the weights as safetensors, the config, the names of the classes, the
pictures of the prototypes, and a model card made from the run: data, metrics,
limits and licence. `protojax.load("hf:owner/name")` reads it. The pictures are
cut out of training images: --no-pictures leaves them out. With --output=DIR2
the same folder is written there, and nothing is sent.
"""

import argparse

from protojax import cli


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "address", metavar="hf:OWNER/NAME", help="repository on the hub"
  )
  cli.add_workdir(parser)
  parser.add_argument(
    "--license",
    required=True,
    metavar="ID",
    help="licence of the weights, as the hub names it: apache-2.0, cc-by-4.0,"
    " other, ...; that of the training images may bind them",
  )
  parser.add_argument(
    "--private", action="store_true", help="make a new repository private"
  )
  parser.add_argument(
    "--no-pictures",
    action="store_true",
    help="leave out pictures of prototypes, which are training images",
  )
  parser.add_argument(
    "--output",
    default="",
    type=cli.path,
    metavar="DIR2",
    help="write the folder here and send nothing",
  )


def run(args: argparse.Namespace) -> int:
  """Publishes the run."""
  return cli.operation("publishing").run(args)
