"""Importing: a checkpoint of other code -> a run."""

import argparse
from collections.abc import Iterator, Mapping
import contextlib
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
from ml_collections import ConfigDict

from protojax import (
  configuration,
  datasets,
  methods,
  parallel,
  printing,
  text_files,
  typed,
)
from protojax.data import skipped
from protojax.engine import assets, workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.prototypes.bank import bank_of
from protojax.types import State, UserError
from protojax.weights import prefixes, pytorch, reading


def run(args: argparse.Namespace) -> int:
  """Writes the workdir; prints to stderr what had to be assumed.

  Raises:
    UserError: the checkpoint cannot be read or imported, or DIR holds a run.
  """
  parallel.setup()
  folder = Path(args.output)
  if workdir.has_begun(folder):
    raise UserError(f"{folder} holds a run; give --output another folder")
  file = Path(args.file)
  arch = Path(args.model_arch or file.parent / "model_arch.yml")
  module = reading.read_module(file)
  with _importing(file):
    name, reader = recognised(module)
    found = reader.read(module, arch, args.image_size)
    for note in found.notes:
      printing.tell(f"note: {note}")
    base = args.config or reader.config(found)
    config = _config(base, name, reader.settings(found), args.data)
  if args.push and not _has_images(config):
    raise UserError("--push needs the training images: give --data=DIR")
  names = getattr(reader, "CLASS_NAMES", ())
  if args.classes or not names:
    names = _class_names(args, config, found.classes)
  method = methods.load(config, names)
  template = jax.eval_shape(method.init, parallel.init_key(config.seed))
  with _importing(file):
    state = reader.state(found, template, method)
  if args.push:
    state = _pushed(method, state, reader)
  summary = getattr(reader, "summary", None)
  facts = _prototypes(state) if summary is None else summary(found)
  facts = {"imported_from": args.file, **facts}
  _write(folder, config, names, method, state, facts)
  printing.tell(
    f"written: {folder}, {reader.described(found)}",
    *_next(folder, args, method),
  )
  return 0


def recognised(module: pytorch.Module) -> tuple[str, ModuleType]:
  """Name of the method that a checkpoint is of, and its module `foreign`.

  Raises:
    UserError: no method recognises it.
  """
  readers = methods.parts("foreign")
  for name, reader in readers.items():
    if reader.recognised(module):
      return name, reader
  first = ", ".join(list(module.tensors)[:3]) or "none"
  systems = "; ".join(reader.SYSTEMS for reader in readers.values())
  raise UserError(
    f"{prefixes.hint(module.tensors)}its tensors ({first:.200}, ...) are those"
    f" of no system that can be read; those are {systems}"
  )


@contextlib.contextmanager
def _importing(file: str | Path) -> Iterator[None]:
  """Adds the name of the file to the message of a mistake."""
  try:
    yield
  except UserError as error:
    raise UserError(f"cannot import {file}: {error}") from error


def _pushed(method: Any, state: State, reader: ModuleType) -> State:
  """The state, its prototypes replaced by patches of training images."""
  stream = method.stream("train")
  for line in skipped.report({"train": stream.source}):
    printing.tell(line)
  printing.tell(f"pushing to {len(stream)} training images")
  state, moved = reader.pushed(method, state)
  printing.tell(
    f"prototypes moved by {moved['moved_mean']:.3g} on average, by"
    f" {moved['moved_max']:.3g} at most"
  )
  return state


def _config(
  base: str, method: str, settings: Mapping[str, Any], data: str
) -> ConfigDict:
  """The base config with the settings of the checkpoint, and --data."""
  config = configuration.read(base).unlock()
  if config.method != method:
    raise UserError(f"--config={base} is for {config.method}, not for {method}")
  config.update_from_flattened_dict(settings)
  if data and not datasets.in_folder(config.data.name):
    raise UserError(
      f"--data={data}: the images of --config={base}, {config.data.name}, lie"
      " in no folder that can be given; name a config whose images do, or leave"
      " out --data"
    )
  if data:
    config.data.root = data
  return config.lock()


def _class_names(
  args: argparse.Namespace, config: ConfigDict, count: int
) -> tuple[str, ...]:
  """Class names from --classes or the images, or else numbers."""
  if args.classes:
    lines = _lines(Path(args.classes))
    names, source = tuple(filter(None, lines)), args.classes
  elif _has_images(config):
    source = config.data.root or config.data.name
    try:
      names = methods.load(config).stream("train").source.class_names
    except UserError as error:
      if args.data or args.push:
        raise
      printing.tell(f"note: the classes get numbers for names: {error}")
      return _numbered(count)
  else:
    return _numbered(count)
  if len(names) != count or len(set(names)) != count:
    raise UserError(
      f"{source} names {len(set(names))} classes, but the checkpoint has"
      f" {count}; name each class once, in the order of the checkpoint"
    )
  return names


def _has_images(config: ConfigDict) -> bool:
  """Whether a config says where its images are."""
  return bool(config.data.root or not datasets.in_folder(config.data.name))


def _numbered(count: int) -> tuple[str, ...]:
  return tuple(f"class {k}" for k in range(count))


def _lines(path: Path) -> list[str]:
  return [line.strip() for line in text_files.read(path).splitlines()]


def _prototypes(state: State) -> dict[str, int]:
  """Entries of summary.json on prototypes that can be pruned."""
  alive = bank_of(state).alive
  return {"prototypes": len(alive), "alive": int(alive.sum())}


def _write(folder, config, names, method: Any, state: State, facts) -> None:
  """Writes a finished run. The config comes first, the summary last."""
  workdir.claim(folder, config, methods.later)
  workdir.claim_classes(folder, names)
  declared = getattr(method, "assets", {})
  made = assets.of_stage(declared, folder, "import", state.assets)
  checkpoints = Checkpoints(folder)
  progress = Progress(finished=True, assets=made)
  checkpoints.save(progress, state.replace(assets={}), {})
  checkpoints.close()
  workdir.write_json(
    folder / "summary.json", {**facts, "class_names": list(names)}
  )


def _next(folder: Path, args: argparse.Namespace, method: Any) -> list[str]:
  if method.capabilities.generates is not None:
    return [f"Next: {typed.command('sample')} --workdir={folder}"]
  explain = f"{typed.command('explain')} --workdir={folder}"
  explain += "" if args.data else " --images=PATH"
  explain += "" if args.push else " --allow-stale"
  return [
    f"Next: {typed.command('predict')} --workdir={folder} IMAGE...",
    f"      {explain}",
  ]
