"""Preparing: a data set as it was downloaded -> a few large files."""

import argparse

from protojax import datasets, parallel, printing, typed
from protojax.console import Console
from protojax.engine import log

_NAMED = 10  # Lines that are printed of each kind of note.


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
      f"Next: {typed.command('train')} --config={module.TRAINS}"
      f" --config.data.root={args.output}",
    ]
  )
  return 0


def _tell(lines: list[str]) -> None:
  printing.tell(*lines[:_NAMED])
  if len(lines) > _NAMED:
    printing.tell(f"and {len(lines) - _NAMED} more")
