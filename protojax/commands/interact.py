"""Lets a person correct or edit a model, and shows how its answers change.

  python -m protojax interact --workdir=DIR

serves a page on this machine. With a concept model, you draw boxes where it
shall look or not look, and reject concepts; the page can save these
interventions to DIR/interventions.json. With ProtoPNet, ST-ProtoPNet and EPIC,
you throw out prototypes, forbid one for a class, or merge duplicates; the page
can save the edited model as a new run. Without a browser,

  python -m protojax interact --workdir=DIR --boxes=FILE

reads interventions from a JSON file, and prints what each of them changes, as
CSV with the columns

  image,class_before,probability_before,class_after,probability_after,changed

With --format=json it prints what the page would save. In the same way

  python -m protojax interact --workdir=DIR --edits=FILE --save-as=NEW

reads edits, saves the edited model in NEW, and prints what they do, as CSV with
the columns

  class,images,accuracy_before,accuracy_now,answers_before,answers_now

or, with --format=json, with every image whose answer changes. docs/interacting
describes both files. In Python, call `protojax.interact.intervene`.
"""

import argparse

from protojax import cli

_PORT = 8642


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  parser.add_argument(
    "--images",
    default=[],
    nargs="+",
    type=cli.path,
    metavar="PATH",
    help="use images of your own (files, folders or patterns) instead of the"
    " test images",
  )
  what = parser.add_mutually_exclusive_group()
  what.add_argument(
    "--boxes",
    default="",
    type=cli.path,
    metavar="FILE",
    help="apply the interventions in a JSON file instead of serving a page",
  )
  what.add_argument(
    "--edits",
    default="",
    type=cli.path,
    metavar="FILE",
    help="apply the edits in a JSON file instead of serving a page",
  )
  parser.add_argument(
    "--save-as",
    default="",
    type=cli.path,
    metavar="DIR",
    help="folder of the edited model, a new run; with --edits nothing is saved"
    " without it, and the page takes WORKDIR-edited",
  )
  parser.add_argument(
    "--format",
    default="csv",
    choices=["csv", "json"],
    help="format of the results of --boxes or --edits; csv by default",
  )
  parser.add_argument(
    "--output",
    default="",
    type=cli.path,
    metavar="FILE",
    help="write the results of --boxes or --edits to FILE instead of the"
    " terminal. FILE is written completely or not at all",
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
  """Applies a file, or serves a page until Ctrl-C."""
  return cli.operation("correcting").run(args)
