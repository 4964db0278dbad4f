"""Lists the configs that come with protojax, or the keys of one.

  python -m protojax configs
  python -m protojax configs NAME[:VARIANT]

prints the name and the first line of each config, or what one config is for,
its variants, and all its keys with their values, as `--config.KEY=VALUE` of
`python train.py` changes them. NAME may also be a file of your own.
"""

import argparse

from protojax import cli


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "name",
    nargs="?",
    default="",
    type=cli.path,
    metavar="PATH",
    help="name of a config, or a file of your own, with :VARIANT if it has"
    " some; without it, all configs are listed",
  )


def run(args: argparse.Namespace) -> int:
  """Prints the list, or the keys."""
  return cli.operation("listing").run(args)
