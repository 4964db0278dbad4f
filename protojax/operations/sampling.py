"""Sampling: a trained run -> images in a folder.

An image depends on the seed, on its number and its conditions alone, so the
first of many are those of few, on any number of devices; see `Generates`.
"""

import argparse
from collections.abc import Collection, Iterator
import difflib
import functools
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from protojax import loading, parallel, printing
from protojax.console import Console
from protojax.diffusion.stable import base
from protojax.diffusion.stable.drawing import Generator
from protojax.engine import log, workdir
from protojax.engine.checkpoint import flatten
from protojax.evaluation import sample_folder
from protojax.methods.base import needed
from protojax.methods.generating import Illustrates
from protojax.shown import shown
from protojax.types import State, UserError

# Classes that a message lists.
_LISTED = 20


class _Drawn(NamedTuple):
  """What images are drawn with, and where to.

  Attributes:
    generates: see `Generates`.
    state: of the model.
    method: its name.
    output: folder of the images.
    size: images that are made at once.
  """

  generates: Any
  state: State
  method: str
  output: Path
  size: int


def run(args: argparse.Namespace) -> int:
  """Writes the images that do not stand yet, the grid, and the arrays.

  Raises:
    UserError: there is no run, it does not generate, there is no such class, or
      the folder has images that were made with others.
  """
  parallel.setup()
  drawn = _of_base(args) if args.base else _of_run(args)
  generates, state = drawn.generates, drawn.state
  names = tuple(generates.class_names)
  only = _label(args.class_name, names) if args.class_name else None
  if args.prompt and not isinstance(generates, Illustrates):
    raise UserError(
      f"--prompt is {shown(args.prompt)}: the model of this run draws by"
      f" {'classes' if names else 'nothing that is said'}, not by texts; leave"
      " it out"
    )
  _check_guidance(args.guidance, names or isinstance(generates, Illustrates))
  output, number = drawn.output, args.number
  recipe: sample_folder.Recipe = {
    "method": drawn.method,
    "checkpoint": _digest(state),
    "seed": args.seed,
    "guidance": args.guidance,
    "steps": args.steps,
    "only_class": None if only is None else names[only],
    "prompt": args.prompt or None,
    "classes": list(names),
    "size": list(args.size) if args.size else None,
  }
  if parallel.is_primary():
    sample_folder.claim(output, recipe)
  standing = sample_folder.standing(output, number)
  if standing:
    printing.tell(f"note: {len(standing)} of {number} images stand already")
  size = drawn.size
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
    if isinstance(generates, Illustrates):
      texts = generates.texts(args.prompt or None, number)
      sample_folder.write_prompts(output, texts)
  parallel.say(f"{output}: {number} images, with grid.png and samples.npz")
  return 0


def _of_run(args: argparse.Namespace) -> _Drawn:
  """A trained run.

  Raises:
    UserError: it is none, or an argument is for a folder of diffusers.
  """
  for name in ("size", "dtype"):
    if getattr(args, name):
      raise UserError(f"--{name} is of --base: images of a run have its own")
  folder = Path(args.workdir or workdir.newest(Path("runs")))
  method, state, config = loading.load(folder)
  generates = needed(method, "generates")
  if not (folder / "summary.json").exists():
    printing.tell(f"note: {folder} is not trained to its end")
  size = args.batch_size or loading.batch_size(config, args.number)
  output = Path(args.output) if args.output else folder / "samples"
  return _Drawn(
    generates, state, config.method, output, parallel.whole_batch(size)
  )


def _of_base(args: argparse.Namespace) -> _Drawn:
  """A folder of diffusers.

  Raises:
    UserError: it is of another model, or an argument is missing or too much.
  """
  if args.workdir:
    raise UserError(
      "--workdir is a run that was trained here, and --base a folder of"
      " diffusers: give one of them"
    )
  for name, value in (("prompt", args.prompt), ("output", args.output)):
    if not value:
      raise UserError(f"--base needs --{name}, too")
  model, weights = base.load(args.base, jnp.dtype(args.dtype or "float32").type)
  size = parallel.whole_batch(args.batch_size or 1)
  return _Drawn(
    Generator(model, size, args.size),
    State(weights, {}, {}),
    "stable_diffusion",
    Path(args.output),
    size,
  )


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
  if args.prompt:
    conditions["prompt"] = args.prompt
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


def _check_guidance(guidance: float | None, guides: object) -> None:
  """Says what a guidance below 1 does.

  Args:
    guidance: as typed.
    guides: true if there are classes or texts to guide to.

  Raises:
    UserError: there is nothing to guide to.
  """
  if guidance is None:
    return
  if guidance != 1 and not guides:
    raise UserError(
      f"--guidance={guidance:g} strengthens the class of an image, and the"
      " model of this run has no classes; leave it out"
    )
  if guidance < 1:
    does = "show less" if guidance else "show nothing"
    printing.tell(
      f"note: --guidance={guidance:g} is below 1: images {does} of their class"
      " or text; 1 is the model as it has learned"
    )


def _digest(state: State) -> str:
  """Of all arrays that images are made with."""
  found = hashlib.blake2b(digest_size=16)
  for name, array in sorted(flatten(state).items()):
    found.update(f"{name} {array.shape} {array.dtype}\n".encode())
    # As bytes: bfloat16 is no type of a buffer.
    found.update(np.ascontiguousarray(array).view(np.uint8).data)
  return found.hexdigest()
