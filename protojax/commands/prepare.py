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
from collections.abc import Callable, Mapping
import functools
import signal
import sys

from rich.console import Console

from protojax import parallel
from protojax.datasets import (
  anomaly_records,
  cars196,
  class_folders,
  cub200,
  dogs,
  photo_records,
)
from protojax.engine import log

_TRAIN = "python train.py --config=configs/"
# Data set -> function that writes it, text of --help, command to train on it.
_WRITERS: Mapping[str, tuple[Callable, str, str]] = {
  "cub200": (
    functools.partial(photo_records.write, cub200.read),
    "birds: CUB_200_2011.tgz, or the folder that is in it",
    f"{_TRAIN}protopnet_cub200.py",
  ),
  "cars196": (
    functools.partial(photo_records.write, cars196.read),
    "Stanford Cars: a folder with its archives and lists, unpacked or not",
    f"{_TRAIN}protopnet_cars196.py",
  ),
  "dogs": (
    functools.partial(photo_records.write, dogs.read),
    "Stanford Dogs: a folder with its archives, unpacked or not",
    f"{_TRAIN}protopnet_dogs.py",
  ),
  "folder": (
    functools.partial(photo_records.write, class_folders.read),
    "images in folders of classes, with or without train/ and test/",
    f"{_TRAIN}protopnet_tfds.py --config.data.name=prepared",
  ),
  "anomaly": (
    anomaly_records.write,
    "normal and defective images, with masks of the defects",
    f"{_TRAIN}inp_former_folder.py --config.data.name=prepared",
  ),
}
_NAMED = 10  # Lines that are printed of each kind of note.


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  commands = parser.add_subparsers(dest="data", metavar="DATA", required=True)
  for name, (_, purpose, _) in _WRITERS.items():
    command = commands.add_parser(name, help=purpose, description=purpose)
    command.add_argument(
      "--source", required=True, metavar="PATH", help="a folder or an archive"
    )
    command.add_argument(
      "--output", required=True, metavar="DIR", help="folder to write to"
    )


def run(args: argparse.Namespace) -> int:
  """Writes the data set.

  Prints to stderr which files were skipped, and which are in two splits.

  Raises:
    UserError: the source is not as expected, or the output cannot be written.
  """
  parallel.setup()
  write, _, train = _WRITERS[args.data]
  # When it is told to stop, it deletes unfinished files, as after Ctrl-C.
  signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
  # While it is imported, imports of other threads fail: those of the bar would.
  import tensorflow_datasets  # noqa: F401

  with log.bar(Console(stderr=True)) as bar:
    task = bar.add_task("prepare", total=None, note="checking")
    outcome = write(
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
      f"Next: {train} --config.data.root={args.output}",
    ]
  )
  return 0


def _tell(lines: list[str]) -> None:
  for line in lines[:_NAMED]:
    print(line, file=sys.stderr)
  if len(lines) > _NAMED:
    print(f"and {len(lines) - _NAMED} more", file=sys.stderr)
