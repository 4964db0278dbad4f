"""Writes a data set into a few large files, ready for training.

  python -m protojax prepare cub200 --source=CUB_200_2011.tgz --output=DIR
  python -m protojax prepare folder --source=DIR_OR_ARCHIVE --output=DIR

reads a data set as it was downloaded, unpacked or not, and writes it as a TFDS
data set. Train on it with --config.data.root=DIR.

  python -m protojax prepare anomaly --source=DIR --output=DIR

reads a folder with the layout of MVTec-AD, VisA or Real-IAD, or with one folder
for each kind of image (see protojax.datasets.layouts).
"""

import argparse

from protojax import cli, datasets, parallel, printing
from protojax.console import Console
from protojax.engine import log

_TRAIN = "python train.py --config=configs/"
_NAMED = 10  # Lines that are printed of each kind of note.


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "data",
    metavar="DATA",
    help="name of a data set, from the list below, or of a module of your own"
    " that can prepare one, such as mypackage.shapes",
  )
  parser.add_argument(
    "--source",
    required=True,
    type=cli.path,
    metavar="PATH",
    help="a folder or an archive",
  )
  parser.add_argument(
    "--output",
    required=True,
    type=cli.path,
    metavar="DIR",
    help="folder to write to",
  )
  known = datasets.preparers().items()
  lines = (f"  {name:10}{module.PREPARES}" for name, module in known)
  parser.epilog = "\n".join(("data sets:", *lines))


def run(args: argparse.Namespace) -> int:
  """Writes the data set.

  Prints to stderr which files were skipped, and which are in two splits.

  Raises:
    UserError: there is no such data set, the source is not as expected, or the
      output cannot be written.
  """
  parallel.setup()
  module = datasets.find(args.data, "prepare", "DATA")
  # While it is imported, imports of other threads fail: those of the bar would.
  import tensorflow_datasets  # noqa: F401

  with log.bar(Console(stderr=True)) as bar:
    task = bar.add_task("prepare", total=None, note="checking")
    outcome = module.prepare(
      args.source,
      args.output,
      lambda total: bar.update(task, total=total, note=""),
      lambda: bar.advance(task),
    )
  _tell([f"skipped {name}: {reason}" for name, reason in outcome.skipped])
  _tell([f"the same file: {a} and {b}" for a, b in outcome.overlap])
  counts = [f"{split}: {n:,}" for split, n in outcome.counts.items()]
  _tell(
    [
      f"written: {args.output}, {', '.join(counts)}, skipped:"
      f" {len(outcome.skipped)}, in two splits: {len(outcome.overlap)}",
      f"Next: {_TRAIN}{module.TRAINS} --config.data.root={args.output}",
    ]
  )
  return 0


def _tell(lines: list[str]) -> None:
  printing.tell(*lines[:_NAMED])
  if len(lines) > _NAMED:
    printing.tell(f"and {len(lines) - _NAMED} more")
