"""Explains a trained run: checkpoint -> explanations -> report.

  python explain.py
  python explain.py --workdir=DIR --scope=global --split=train
  python explain.py --images='holiday/*.jpg'
  python explain.py --preset=balanced --format=html,csv,json

Says which of hue, shape, texture, contrast and saturation makes images look
like the prototypes, or anomalous. Writes WORKDIR/explanations/report.html and
tables. `python -m protojax explain` is the same command.
"""

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

from protojax import cli, loading, methods, parallel
from protojax import report as report_lib
from protojax.console import Console
from protojax.data import skipped
from protojax.data import stream as stream_lib
from protojax.datasets import files
from protojax.engine import workdir
from protojax.explain.request import Request
from protojax.heat import maps
from protojax.methods.base import able, needed
from protojax.modify import presets
from protojax.types import UserError


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  _of_images(parser)
  _of_explanations(parser)
  parser.add_argument(
    "--format",
    default="html,csv",
    type=_names,
    metavar="NAMES",
    help="what to write, with commas in between; html,csv by default. html: the"
    " report; csv: tables; json: everything, line by line; npz: all scores of"
    " all images; png: pictures",
  )
  parser.add_argument(
    "--allow-stale",
    action="store_true",
    help="explain prototypes even if they have moved since the push",
  )
  parser.add_argument(
    "--distributed",
    action="store_true",
    help="this process is one of several that explain together",
  )


def _of_images(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--scope",
    default="both",
    choices=["local", "global", "both"],
    help="explain images (local), prototypes (global) or both, the default",
  )
  parser.add_argument(
    "--split",
    default="both",
    choices=["train", "test", "both"],
    help="the images to use. With both, the default, prototypes are explained"
    " once over the training images and once over the test images, and only"
    " test images are explained one by one",
  )
  parser.add_argument(
    "--images",
    default="",
    type=cli.path,
    metavar="PATH",
    help="explain images of your own instead: a file, a folder or a pattern",
  )
  parser.add_argument(
    "--limit",
    type=cli.whole_number(1),
    metavar="N",
    help="use at most N images of a split, evenly chosen; all by default",
  )


def _of_explanations(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--preset",
    default="reference",
    type=cli.at_home,
    metavar="NAME",
    help="what is modified and how strongly: reference (the default), balanced,"
    " v1, a JSON file of your own, or one characteristic at several strengths,"
    " such as contrast=0.2,0.45,0.7",
  )
  parser.add_argument(
    "--mode",
    default="fast",
    choices=presets.MODES,
    help="fast, the default: modify images at the size of the network's input."
    " reference: modify them at their own size and resize them afterwards, as"
    " the paper's code does",
  )
  parser.add_argument(
    "--codec",
    default="none",
    choices=presets.CODECS,
    help="reference: with --mode=reference, save images as JPEG and read them"
    " again, as the paper's code does; none by default",
  )
  parser.add_argument(
    "--heat",
    default="upsampling",
    choices=maps.ATTRIBUTIONS,
    help="what heat maps show: the similarity map (upsampling, the default),"
    " what a cell can see (receptive_field), gradients (saliency, smoothgrad)"
    " or relevance (prp)",
  )


def _names(text: str) -> list[str]:
  names = list(filter(None, map(str.strip, text.split(","))))
  if not names:
    raise argparse.ArgumentTypeError("nothing would be written: name a format")
  return list(dict.fromkeys(names))


def run(args: argparse.Namespace) -> int:
  """Explains a run; writes WORKDIR/explanations.

  Raises:
    UserError: there is no run, it cannot be explained, or its prototypes, its
      data or the images are not as expected.
  """
  parallel.setup(args.distributed)
  preset = presets.load(args.preset, args.mode, args.codec)
  place = Path(args.workdir or workdir.newest(Path("runs")))
  method, state, config = loading.load(place)
  explains = needed(method, "explains")
  if explains.stale(state) and not args.allow_stale:
    raise UserError(
      f"the prototypes in {place} have changed since the last push, or were"
      " never pushed, so their pictures would be misleading. Let train.py"
      " finish, or explain them anyway with --allow-stale."
    )
  with loading.described_by(place, config):
    tasks = _tasks(method, explains.scopes, config, args)
  for line in skipped.report({split: s.source for split, _, s in tasks}):
    parallel.say(line)
  folder = place / "explanations" / ("images" if args.images else "")
  parallel.say(f"explaining {place} on {parallel.describe()}")

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
    size, source = loading.image_size(config), files.images(args.images)
    stream = stream_lib.ordered(
      source,
      size,
      loading.batch_size(config, len(source)),
      resizing=loading.resizing(config),
      cache_bytes=0,
    )
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
  classifies = able(method, "classifies")
  if classifies is None:
    return stream
  now, then = stream.source.class_names, classifies.class_names
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
