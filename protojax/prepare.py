"""Prepares a data set for training: many files become few.

  python -m protojax prepare anomaly --source=DIR --output=DIR

reads a folder laid out as MVTec-AD, VisA, Real-IAD or as KIND/* (see
protojax.data.layouts) and writes it as a TFDS data set, which is then trained
on with --config.data.name=prepared --config.data.root=DIR.
"""

import argparse
from collections.abc import Callable, Mapping
import sys

from rich.console import Console

from protojax import parallel
from protojax.data import prepare
from protojax.train import log

# What data are for -> how they are written, and what --help says.
_WRITERS: Mapping[str, tuple[Callable, str]] = {
  "anomaly": (prepare.write, "normal and defective images, with their masks")
}


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  commands = parser.add_subparsers(dest="data", metavar="DATA", required=True)
  for name, (_, purpose) in _WRITERS.items():
    command = commands.add_parser(name, help=purpose, description=purpose)
    command.add_argument(
      "--source", required=True, metavar="DIR", help="folder of the images"
    )
    command.add_argument(
      "--output", required=True, metavar="DIR", help="folder to write to"
    )


def run(args: argparse.Namespace) -> int:
  """Prepares; says on stderr what was left out.

  Raises:
    UserError: the source is not as expected, or the output cannot be written.
  """
  parallel.setup()
  write, _ = _WRITERS[args.data]
  with log.bar(Console(stderr=True)) as bar:
    task = bar.add_task("prepare", total=None, note="checking")
    skipped = write(
      args.source,
      args.output,
      lambda total: bar.update(task, total=total, note=""),
      lambda: bar.advance(task),
    )
  for name, reason in skipped:
    print(f"skipped {name}: {reason}", file=sys.stderr)
  print(f"written: {args.output}, skipped: {len(skipped)}", file=sys.stderr)
  return 0
