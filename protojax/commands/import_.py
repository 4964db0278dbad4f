"""Imports a model that was trained with the code of others.

  python -m protojax import FILE.pth --output=DIR [--data=DIR --push]

FILE.pth is a file that the code of ProtoPNet, EvalProtoPNet, ST-ProtoPNet,
ProtoSeg, ScaleProtoSeg, PEM, ProMoE, FoPro or GAPL saves (a pickled module or a
state dict), or CaBRNet's model_state.pth with model_arch.yml in the same
folder. Nothing in it is executed, and PyTorch is not needed. DIR becomes the
workdir of a run:

  python -m protojax predict --workdir=DIR IMAGE...
  python explain.py --workdir=DIR --images=PATH --allow-stale

The file does not say which images its prototypes were taken from, so explain.py
needs --allow-stale. With --push, every prototype is replaced by the nearest
patch of the training images in --data, and --allow-stale is not needed.
"""

import argparse

from protojax import cli


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "file", type=cli.path, metavar="FILE", help="checkpoint to import"
  )
  parser.add_argument(
    "--output",
    required=True,
    type=cli.path,
    metavar="DIR",
    help="workdir to write to",
  )
  parser.add_argument(
    "--model-arch",
    default="",
    type=cli.path,
    metavar="FILE",
    help="CaBRNet's model_arch.yml; by default the one beside the checkpoint",
  )
  parser.add_argument(
    "--image-size",
    default=0,
    type=cli.whole_number(1),
    metavar="PIXELS",
    help="side of the network's input, which a state dict does not tell",
  )
  parser.add_argument(
    "--classes",
    default="",
    type=cli.path,
    metavar="FILE",
    help="text file with one class name on each line, in the model's order",
  )
  parser.add_argument(
    "--data",
    default="",
    type=cli.path,
    metavar="DIR",
    help="the images: train/CLASS/* and test/CLASS/*; also gives class names",
  )
  parser.add_argument(
    "--push",
    action="store_true",
    help="replace each prototype by the nearest patch of the training images",
  )
  parser.add_argument(
    "--config",
    default="",
    type=cli.path,
    metavar="FILE",
    help="config for what the checkpoint does not tell; by default one with the"
    " paper's settings",
  )


def run(args: argparse.Namespace) -> int:
  """Writes the workdir; prints to stderr what had to be assumed."""
  return cli.operation("importing").run(args)
