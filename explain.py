"""Explains a trained run: checkpoint -> explanations -> report.

python explain.py
python explain.py --workdir=DIR --scope=global --split=train
python explain.py --images='holiday/*.jpg'
python explain.py --preset=balanced --format=html,csv,json

Says which of hue, shape, texture, contrast and saturation makes images look
like the prototypes, or odd, and writes WORKDIR/explanations/report.html and
tables.
"""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from rich.console import Console
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  TextColumn,
  TimeRemainingColumn,
)

from protojax import configuration, loading, parallel
from protojax.data import skipped
from protojax.data import stream as stream_lib
from protojax.datasets import files
from protojax.engine import workdir
from protojax.heat import maps
from protojax.methods.base import Classifies, Explains
from protojax.modify import presets
from protojax.types import UserError

_WORKDIR = flags.DEFINE_string(
  "workdir", "", "Folder of the run; the newest under runs/ if not given."
)
_SCOPE = flags.DEFINE_enum(
  "scope",
  "both",
  ["local", "global", "both"],
  "Explain images (local), prototypes (global) or both.",
)
_SPLIT = flags.DEFINE_enum(
  "split",
  "both",
  ["train", "test", "both"],
  "The images to use. With both, prototypes are explained over each, and"
  " the test images alone are explained one by one.",
)
_IMAGES = flags.DEFINE_string(
  "images", "", "A file, folder or pattern of images to explain instead."
)
_LIMIT = flags.DEFINE_integer(
  "limit",
  None,
  "At most so many images of a split, evenly chosen.",
  lower_bound=1,
)
_PRESET = flags.DEFINE_string(
  "preset",
  "reference",
  "What is modified and how far: reference, balanced, v1, a JSON file of your"
  " own, or one characteristic at several strengths as contrast=0.2,0.45,0.7.",
)
_MODE = flags.DEFINE_enum(
  "mode",
  "fast",
  presets.MODES,
  "Modify images at the size of the network's input (fast), or at their own"
  " size and then resize them, as the paper's code does (reference).",
)
_CODEC = flags.DEFINE_enum(
  "codec",
  "none",
  presets.CODECS,
  "With --mode=reference, put images through JPEG as the paper's code does.",
)
_HEAT = flags.DEFINE_enum(
  "heat",
  "upsampling",
  maps.ATTRIBUTIONS,
  "What heat maps show: the similarity map (upsampling), what a cell can see"
  " (receptive_field), gradients (saliency, smoothgrad) or relevance (prp).",
)
_FORMAT = flags.DEFINE_list(
  "format",
  ["html", "csv"],
  "What to write: html (the report), csv (tables), json (all of it, line by"
  " line), npz (all scores of all images), png (pictures).",
)
_ALLOW_STALE = flags.DEFINE_bool(
  "allow_stale", False, "Explain prototypes that have moved since the push."
)
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Join the other processes of this run."
)

# Images of one's own in a batch, where no config says how many.
_AT_ONCE = 32


def main() -> int:
  """Explains a run; writes WORKDIR/explanations."""
  parallel.setup(_DISTRIBUTED.value)
  run = Path(_WORKDIR.value) if _WORKDIR.value else workdir.newest(Path("runs"))
  method, state, config = loading.load(run)
  if not isinstance(method, Explains):
    raise UserError(f"{config.method} in {run} has no prototypes to explain.")
  if method.stale(state) and not _ALLOW_STALE.value:
    raise UserError(
      f"the prototypes in {run} are no longer the patches of the last push,"
      " or were never pushed, so their pictures would mislead. Let train.py"
      " finish, or explain them all the same with --allow_stale."
    )
  tasks = _tasks(method, config)
  for line in skipped.report({split: s.source for split, _, s in tasks}):
    parallel.say(line)
  folder = run / "explanations" / ("images" if _IMAGES.value else "")
  preset = presets.load(_PRESET.value, _MODE.value, _CODEC.value)
  parallel.say(f"explaining {run} on {parallel.describe()}")

  with (
    method.output(folder, run, preset, _FORMAT.value) as output,
    _progress() as bar,
  ):
    for split, scope, stream in tasks:
      count = min(len(stream), _LIMIT.value or len(stream))
      task = bar.add_task(split, total=count, rate="")

      def advance(images, split=split, task=task):
        output.seen(split, images)
        bar.advance(task, images)
        speed = bar.tasks[task].speed
        bar.update(task, rate=f"{speed:.3g} images/s" if speed else "")

      for explained in method.explain(
        state,
        stream,
        split=split,
        scope=scope,
        preset=preset,
        heat=_HEAT.value,
        limit=_LIMIT.value,
        keep_all="npz" in _FORMAT.value,
        allow_changed=_ALLOW_STALE.value,
        sources=split == tasks[0][0],
        progress=advance,
      ):
        # Every process makes them, since all compute; one writes.
        if parallel.is_primary():
          output.add(explained)
    if parallel.is_primary():
      output.finish()
  if parallel.is_primary():
    output.show(Console())
  return 0


def _tasks(
  method: Any, config: ConfigDict
) -> list[tuple[str, str, stream_lib.Stream]]:
  """(split, scope, stream) of every sweep."""
  scope, size = _scope(method, config.method), config.data.image_size
  if _IMAGES.value:
    if scope == "global":
      raise UserError(
        "--scope=global explains prototypes over a data set; with --images"
        " use --scope=local."
      )
    source = files.images(_IMAGES.value)
    at_once = min(len(source), _AT_ONCE)
    stream = stream_lib.ordered(source, size, at_once, cache_bytes=0)
    return [("images", "local", stream)]
  if _SPLIT.value != "both":
    return [(_SPLIT.value, scope, _stream(method, _SPLIT.value))]
  tasks = [("test", scope, _stream(method, "test"))]
  if scope != "local":
    tasks.insert(0, ("train", "global", _stream(method, "train")))
  return tasks


def _scope(method: Any, name: str) -> str:
  """What is asked for, as far as the method has it."""
  if _SCOPE.value == "both" and "global" not in method.scopes:
    return "local"
  if _SCOPE.value not in (*method.scopes, "both"):
    raise UserError(
      f"the prototypes of {name} are those of one image each, so that there is"
      f" no --scope={_SCOPE.value}; use --scope={method.scopes[0]}."
    )
  return _SCOPE.value


def _stream(method: Any, split: str) -> stream_lib.Stream:
  """The images of a split, whose classes are those of the run.

  Raises:
    UserError: the classes have changed, so labels mean others than they did.
  """
  stream = method.stream(split).once()
  if not isinstance(method, Classifies):
    return stream
  now, then = stream.source.class_names, method.class_names
  if tuple(now) != tuple(then):
    gone = ", ".join(sorted(set(then) - set(now)))
    new = ", ".join(sorted(set(now) - set(then)))
    changes = [f"gone: {gone}"] * bool(gone) + [f"new: {new}"] * bool(new)
    raise UserError(
      f"the classes of the {split} images are no longer those the run was"
      f" trained on ({'; '.join(changes) or 'in another order'}). Put the data"
      " back as they were, or explain images of your own with --images=PATH."
    )
  return stream


def _progress() -> Progress:
  return Progress(
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("{task.fields[rate]}"),
    TimeRemainingColumn(),
    disable=not parallel.is_primary(),
  )


if __name__ == "__main__":
  configuration.run(main)
