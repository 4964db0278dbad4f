"""Opens a page to drop photos on: what the model makes of them, and why.

  python -m protojax demo --workdir=DIR

serves a page on this machine. Each photo that you choose, drop or paste gets
the report of an image: the answer of a classifier with what speaks for it, the
worst place that a detector of defects finds, or the classes of the pixels. The
photos stay beside as a history, and two of them can be compared. They are in
memory alone: nothing is written, and when the command ends they are gone.
"""

import argparse

from protojax import cli

_PORT = 8643


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  parser.add_argument(
    "--preset",
    default="two_sided",
    help="what is changed in a photo, and how far, as for explain; two_sided by"
    " default",
  )
  parser.add_argument(
    "--allow-stale",
    action="store_true",
    help="explain prototypes that have changed since the last push",
  )
  parser.add_argument(
    "--host",
    default="127.0.0.1",
    help="address to listen on; other machines can connect unless it is"
    " 127.0.0.1, the default",
  )
  parser.add_argument(
    "--port",
    default=_PORT,
    type=cli.whole_number(0, 65_535),
    help=f"port to listen on; {_PORT} by default. 0: any free port",
  )


def run(args: argparse.Namespace) -> int:
  """Serves a page until Ctrl-C."""
  return cli.operation("trying").run(args)
