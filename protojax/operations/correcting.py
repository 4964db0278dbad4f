"""Correcting: a page, or a file, by which a person corrects a model."""

import argparse
from pathlib import Path
from typing import Any

from protojax import loading, parallel, printing
from protojax.data import skipped
from protojax.data.source import Source
from protojax.datasets import files
from protojax.engine import workdir
from protojax.interact import batch
from protojax.interact.answers import Model
from protojax.interact.atlas_images import Atlas
from protojax.interact.session import Session
from protojax.methods.base import able, needed
from protojax.operations import editing
from protojax.operations.serving import served
from protojax.types import UserError
from protojax.writing import opened, require_apart


def run(args: argparse.Namespace) -> int:
  """Applies a file, or serves a page until Ctrl-C.

  Raises:
    UserError: there is no run or there are no images, the model takes no
      corrections, the file has a mistake, or the address is not available.
  """
  parallel.setup()
  folder = Path(args.workdir or workdir.newest(Path("runs")))
  method, state, config = loading.load(folder)
  if _edits(args, method):
    given = args, folder, method, state, config
    if not args.edits:
      return _edit_on_page(*given)
    editing.apply(*given)
    return 0
  intervenes = needed(method, "intervenes")
  if args.save_as:
    raise UserError(
      "--save-as is the folder of an edited model; a correction of"
      f" {config.method} is saved in the run itself: leave it out"
    )
  loading.require_living(method, state)
  # train.py writes this file last.
  if not (folder / "summary.json").exists():
    printing.tell(f"note: {folder} is not trained to its end")
  with loading.described_by(folder, config):
    source = _source(method, args.images)
  model = Model(method, state)
  if args.boxes:
    require_apart(args.output, [args.boxes, *args.images])
    asked = batch.read(Path(args.boxes), source, intervenes.concept_names)
    with opened(args.output) as file:
      batch.write(batch.apply(model, source, asked), file, args.format)
    return 0
  session = Session(
    model,
    source,
    folder / "interventions.json",
    Atlas(method, state, intervenes.grid),
  )

  def begin() -> None:
    printing.tell("compiling ...")
    session.opened(0)

  stopped = served(session, args, folder, begin, session.predict_all)
  printing.tell(f"{session.saved_count} interventions saved in {session.path}")
  return stopped


def _edit_on_page(args: argparse.Namespace, folder: Path, *of_run: Any) -> int:
  session = editing.session(args, folder, *of_run)
  stopped = served(session, args, folder, session.ready)
  for place in session.saved:
    printing.tell(f"saved: {place}")
  return stopped


def _edits(args: argparse.Namespace, method) -> bool:
  """Whether prototypes are edited; otherwise answers are corrected.

  Raises:
    UserError: the method can do neither, or not what is asked for.
  """
  if args.edits:
    return needed(method, "edits") is not None
  if not args.boxes:
    # Names both, where there is neither.
    needed(method, "intervenes", "edits")
  return not args.boxes and able(method, "intervenes") is None


def _source(method, paths: list[str]) -> Source:
  """The images; prints to stderr which cannot be read."""
  split = "images" if paths else "test"
  source = files.images(*paths) if paths else method.stream(split).source
  for line in skipped.report({split: source}):
    printing.tell(line)
  return source
