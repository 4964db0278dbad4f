"""Preparing: a data set as it was downloaded -> a few large files."""

import argparse
import functools

import jax

from protojax import backbones, datasets, parallel, printing, typed
from protojax.backbones import pooled
from protojax.console import Console
from protojax.datasets.latent_files import Encoder
from protojax.datasets.slide_bags import Embedder
from protojax.diffusion import autoencoder_file, flips
from protojax.engine import log
from protojax.prototypes import start
from protojax.text import pairs
from protojax.types import UserError

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
  given: tuple = _encoder(args, getattr(module, "ENCODES", False))
  given += _embedder(args, getattr(module, "EMBEDS", False))
  if getattr(module, "DIVIDES", False):
    given += (pairs.of_text,)
  # While it is imported, imports of other threads fail: those of the bar would.
  import tensorflow_datasets  # noqa: F401

  with log.bar(Console(stderr=True)) as bar:
    task = bar.add_task("prepare", total=None, note="checking")
    outcome = module.prepare(
      args.source,
      args.output,
      lambda total: bar.update(task, total=total, note=""),
      lambda: bar.advance(task),
      *given,
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


def _encoder(args: argparse.Namespace, needed: bool) -> tuple[Encoder, ...]:
  """What encodes the images, for a data set that needs it."""
  if needed != bool(args.autoencoder):
    raise UserError(
      f"prepare {args.data} needs --autoencoder=FILE, such as the"
      " diffusion_pytorch_model.safetensors of sd-vae-ft-mse"
      if needed
      else f"prepare {args.data} takes no --autoencoder: leave it out"
    )
  if not needed:
    return ()
  module, variables = autoencoder_file.read(args.autoencoder)
  if args.image_size % module.stride:
    raise UserError(
      f"--image-size={args.image_size}; this autoencoder needs a multiple of"
      f" {module.stride}"
    )
  return (
    Encoder(
      autoencoder_file.digest(args.autoencoder),
      variables,
      functools.partial(flips.encoded, module),
      args.image_size,
      args.image_size // module.stride,
      module.latent,
      args.batch_size,
    ),
  )


def _embedder(args: argparse.Namespace, needed: bool) -> tuple[Embedder, ...]:
  """What makes vectors of tiles, for a data set that needs it."""
  if needed != bool(args.backbone):
    known = ", ".join(backbones.names())
    raise UserError(
      f"prepare {args.data} needs --backbone=NAME: choose from {known}"
      if needed
      else f"prepare {args.data} takes no --backbone: leave it out"
    )
  if not needed:
    return ()
  backbone = backbones.load(args.backbone)
  variables = start.variables(backbone, args.backbone, args.weights)
  program = jax.jit(functools.partial(pooled.pooled, backbone))
  return (
    Embedder(
      args.backbone,
      args.weights,
      functools.partial(program, variables),
      args.image_size,
      args.batch_size,
    ),
  )


def _tell(lines: list[str]) -> None:
  printing.tell(*lines[:_NAMED])
  if len(lines) > _NAMED:
    printing.tell(f"and {len(lines) - _NAMED} more")
