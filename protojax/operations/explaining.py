"""Explaining: checkpoint -> explanations -> report."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  TextColumn,
  TimeRemainingColumn,
)

from protojax import loading, methods, parallel
from protojax import report as report_lib
from protojax.console import Console
from protojax.data import skipped
from protojax.data import stream as stream_lib
from protojax.datasets import files
from protojax.engine import workdir
from protojax.explain import familiarity, prototypical
from protojax.explain.request import Request
from protojax.methods.base import needed
from protojax.modify import presets
from protojax.types import UserError


def run(args: argparse.Namespace) -> int:
  """Explains a run; writes WORKDIR/explanations.

  Raises:
    UserError: there is no run, it cannot be explained, or not as asked; or its
      prototypes, its data or the images are not as expected.
  """
  parallel.setup(args.distributed)
  preset = presets.load(args.preset, args.mode, args.codec)
  place = Path(args.workdir or workdir.newest(Path("runs")))
  method, state, config = loading.load(place)
  explains = needed(method, "explains")
  prototypical.require_heat(explains, args.heat, config.method)
  if not args.allow_stale:
    loading.require_current(explains, state, place, "--allow-stale")
  with loading.described_by(place, config):
    tasks = _tasks(method, explains.scopes, config, args)
  for line in skipped.report({split: s.source for split, _, s in tasks}):
    parallel.say(line)
  folder = place / "explanations" / ("images" if args.images else "")
  parallel.say(f"explaining {place} on {parallel.describe()}")

  known = familiarity.read(place)
  write = report_lib.load(explains.report)
  notes = methods.notes(config.method)
  pages = methods.pages(config.method, method, state, place)
  with (
    write(folder, place, preset, args.format, notes, pages) as report,
    _progress() as bar,
  ):
    for split, scope, stream in tasks:
      count = min(len(stream), args.limit or len(stream))
      task = bar.add_task(split, total=count, rate="")

      def advance(images, split=split, task=task):
        report.seen(split, images)
        bar.advance(task, images)
        speed = bar.tasks[task].speed
        bar.update(task, rate=f"{speed:.3g} images/s" if speed else "")

      request = Request(
        split=split,
        scope=scope,
        preset=preset,
        heat=args.heat,
        limit=args.limit,
        keep_all="npz" in args.format,
        provenance=split == tasks[0][0],
        allow_changed=args.allow_stale,
        known=known,
        progress=advance,
      )
      for explained in explains.explain(state, stream, request):
        # All processes compute them; one writes them.
        if parallel.is_primary():
          report.add(explained)
    report.finish()
  if parallel.is_primary():
    report.show(Console())
  return 0


def _tasks(
  method: Any,
  scopes: Sequence[str],
  config: ConfigDict,
  args: argparse.Namespace,
) -> list[tuple[str, str, stream_lib.Stream]]:
  """(split, scope, stream) of each pass over images."""
  scope = _scope(scopes, config.method, args.scope)
  if args.images:
    if scope == "global":
      raise UserError(
        "--scope=global explains prototypes over a data set; with --images"
        " use --scope=local."
      )
    loading.image_size(config)  # Refuses a method without images first.
    stream = loading.stream(config, files.images(args.images))
    return [("images", "local", stream)]
  if args.split != "both":
    return [(args.split, scope, _stream(method, args.split))]
  tasks = [("test", scope, _stream(method, "test"))]
  if scope != "local":
    tasks.insert(0, ("train", "global", _stream(method, "train")))
  return tasks


def _scope(scopes: Sequence[str], name: str, asked: str) -> str:
  """The scope that was asked for, as far as the method has it."""
  if asked == "both" and "global" not in scopes:
    return "local"
  if asked not in (*scopes, "both"):
    raise UserError(
      f"each prototype of {name} belongs to a single image, so there is no"
      f" --scope={asked}; use --scope={scopes[0]}."
    )
  return asked


def _stream(method: Any, split: str) -> stream_lib.Stream:
  """The images of a split; their classes must be those of the run.

  Raises:
    UserError: the classes have changed since the training.
  """
  stream = method.stream(split).once()
  classes = loading.named(method)
  if classes is None:
    return stream
  now, then = stream.source.class_names, classes.class_names
  if tuple(now) != tuple(then):
    gone = ", ".join(sorted(set(then) - set(now)))
    new = ", ".join(sorted(set(now) - set(then)))
    changes = [f"gone: {gone}"] * bool(gone) + [f"new: {new}"] * bool(new)
    raise UserError(
      f"the classes of the {split} images have changed since the training"
      f" ({'; '.join(changes) or 'their order'}). Restore the data as they"
      " were, or explain images of your own with --images=PATH."
    )
  return stream


def _progress() -> Progress:
  return Progress(
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("{task.fields[rate]}"),
    TimeRemainingColumn(),
    console=Console(),
    disable=not parallel.is_primary(),
  )
