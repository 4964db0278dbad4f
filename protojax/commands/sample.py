"""Generates images with a trained model.

  python -m protojax sample --workdir=DIR --number=N --seed=S
  python -m protojax sample --workdir=DIR --class=NAME --guidance=1.5

writes into WORKDIR/samples: images/000000.png and so on, grid.png with the
first of them, and samples.npz for evaluators of others. It has `arr_0`, uint8
[N H W 3], and `arr_1`, the labels. `evaluate --generated` compares the images
with real ones.

Classes come in turns, so that all have the same number of images. An image
depends on the seed and on its number alone: a larger --number leaves the first
ones as they are, on any number of devices. What stands in the folder is not
made again, so an interrupted command goes on.
"""

import argparse
from collections.abc import Collection, Iterator
import difflib
import functools
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from protojax import cli, loading, parallel, printing
from protojax.console import Console
from protojax.engine import log, workdir
from protojax.engine.checkpoint import flatten
from protojax.evaluation import sample_folder
from protojax.methods.base import needed
from protojax.shown import shown
from protojax.types import State, UserError

# Classes that a message lists, and the largest guidance.
_LISTED, _MOST_GUIDANCE = 20, 100.0


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  parser.add_argument(
    "--number",
    default=100,
    type=cli.whole_number(1, 10_000_000),
    metavar="N",
    help="of images, with those that stand; 100 by default",
  )
  parser.add_argument(
    "--seed",
    default=0,
    type=cli.whole_number(0, 2**31 - 1),
    metavar="S",
    help="of the randomness; 0 by default",
  )
  parser.add_argument(
    "--class",
    dest="class_name",
    default="",
    metavar="NAME",
    help="of all images; by default all classes in turns",
  )
  parser.add_argument(
    "--guidance",
    type=_guidance,
    metavar="W",
    help="how strongly images show their class; as in the run's config by"
    " default. 1: as the model has learned; more: clearer and less varied; 0:"
    " not at all",
  )
  parser.add_argument(
    "--steps",
    type=cli.whole_number(1, 100_000),
    metavar="T",
    help="of the sampler, for each image; as in the run's config by default",
  )
  parser.add_argument(
    "--batch-size",
    default=0,
    type=cli.whole_number(1, 1_000_000),
    metavar="B",
    help="images that are made at once, on all devices; that of training by"
    " default",
  )
  parser.add_argument(
    "--output",
    default="",
    type=cli.path,
    metavar="DIR2",
    help="folder to write to; WORKDIR/samples by default",
  )


def _guidance(text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 0 <= value <= _MOST_GUIDANCE:
    raise argparse.ArgumentTypeError(
      f"{shown(text)} is not a number from 0 to {_MOST_GUIDANCE:g}"
    )
  return value


def run(args: argparse.Namespace) -> int:
  """Writes the images that do not stand yet, the grid, and the arrays.

  Raises:
    UserError: there is no run, it does not generate, there is no such class, or
      the folder has images that were made with others.
  """
  parallel.setup()
  folder = Path(args.workdir or workdir.newest(Path("runs")))
  method, state, config = loading.load(folder)
  generates = needed(method, "generates")
  names = tuple(generates.class_names)
  only = _label(args.class_name, names) if args.class_name else None
  _check_guidance(args.guidance, names)
  if not (folder / "summary.json").exists():
    printing.tell(f"note: {folder} is not trained to its end")
  output = Path(args.output) if args.output else folder / "samples"
  number = args.number
  recipe: sample_folder.Recipe = {
    "method": config.method,
    "checkpoint": _digest(state),
    "seed": args.seed,
    "guidance": args.guidance,
    "steps": args.steps,
    "only_class": None if only is None else names[only],
    "classes": list(names),
  }
  if parallel.is_primary():
    sample_folder.claim(output, recipe)
  standing = sample_folder.standing(output, number)
  if standing:
    printing.tell(f"note: {len(standing)} of {number} images stand already")
  size = parallel.whole_batch(
    args.batch_size or loading.batch_size(config, number)
  )
  draw = functools.partial(_draw, generates, parallel.replicate(state), args)
  with log.bar(Console(stderr=True)) as bar:
    done = len(standing)
    task = bar.add_task("sample", total=number, completed=done, note="")
    for start in _starts(number, size, standing):
      images = draw(start, _labels(start + size, only, names)[start:], size)
      new = set(range(start, min(start + size, number))) - standing
      if parallel.is_primary():
        for i in new:
          sample_folder.write(output, i, images[i - start])
      bar.advance(task, len(new))
  if parallel.is_primary():
    turns = len(names) if only is None else 1
    sample_folder.write_grid(output, number, turns)
    labels = _labels(number, only, names)
    sample_folder.write_arrays(output, number, labels)
  parallel.say(f"{output}: {number} images, with grid.png and samples.npz")
  return 0


def _starts(number: int, size: int, standing: Collection[int]) -> Iterator[int]:
  """Where the batches begin that have an image that does not stand.

  Batches always have the same images: those that stand are made again beside
  others, and the last batch goes on after the last image. A sum over another
  batch could round in another way.
  """
  for start in range(0, number, size):
    if not all(i in standing for i in range(start, min(start + size, number))):
      yield start


def _draw(
  generates: Any,
  state: State,
  args: argparse.Namespace,
  start: int,
  labels: np.ndarray,
  count: int,
) -> np.ndarray:
  """Images of a batch, [count H W 1 or 3].

  Raises:
    UserError: what the method makes are no images.
  """
  conditions: dict[str, Any] = {"label": labels} if len(labels) else {}
  for name in ("guidance", "steps"):
    if getattr(args, name) is not None:
      conditions[name] = getattr(args, name)
  key = parallel.key(args.seed)
  images = generates.generate(state, conditions, key, count, start)
  images = np.asarray(images)
  kind, shape = images.dtype, images.shape
  if kind != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3):
    raise UserError(
      f"{type(generates).__name__} gives {kind} {list(shape)} for {count}"
      f" images; expected uint8 [{count}, H, W, 1 or 3]"
    )
  return images


def _labels(
  number: int, only: int | None, names: tuple[str, ...]
) -> np.ndarray:
  """The class of each image; empty without classes."""
  if not names:
    return np.zeros(0, np.int32)
  if only is not None:
    return np.full(number, only, np.int32)
  return np.arange(number, dtype=np.int32) % len(names)


def _label(name: str, names: tuple[str, ...]) -> int:
  """Number of a class."""
  if name in names:
    return names.index(name)
  if not names:
    raise UserError(
      f"--class is {shown(name)}: the model of this run has no classes; leave"
      " it out"
    )
  near = difflib.get_close_matches(name, names, 3, cutoff=0.4)
  hint = f"; near: {', '.join(map(repr, near))}" if near else ""
  listed = ", ".join(names[:_LISTED])
  more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
  raise UserError(
    f"--class is {shown(name)}, which is none of the {len(names)} classes of"
    f" this run ({listed}{more}){hint}"
  )


def _check_guidance(guidance: float | None, names: tuple[str, ...]) -> None:
  """Says what a guidance below 1 does.

  Raises:
    UserError: there are no classes to guide to.
  """
  if guidance is None:
    return
  if guidance != 1 and not names:
    raise UserError(
      f"--guidance={guidance:g} strengthens the class of an image, and the"
      " model of this run has no classes; leave it out"
    )
  if guidance < 1:
    does = "show their class less" if guidance else "do not show their class"
    printing.tell(
      f"note: --guidance={guidance:g} is below 1: images {does}; 1 is the model"
      " as it has learned"
    )


def _digest(state: State) -> str:
  """Of all arrays that images are made with."""
  found = hashlib.blake2b(digest_size=16)
  for name, array in sorted(flatten(state).items()):
    found.update(f"{name} {array.shape} {array.dtype}\n".encode())
    found.update(np.ascontiguousarray(array).data)
  return found.hexdigest()
