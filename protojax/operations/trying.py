"""Trying: a page that shows at once what a model makes of photos."""

import argparse
from pathlib import Path

import numpy as np

from protojax import loading, parallel, printing
from protojax import model as model_lib
from protojax.engine import workdir
from protojax.interact import trial
from protojax.methods.base import needed
from protojax.operations.serving import served


def run(args: argparse.Namespace) -> int:
  """Serves a page until Ctrl-C.

  Raises:
    UserError: there is no run, it explains no photos, its prototypes have
      changed since the last push, or the address is not available.
  """
  parallel.setup()
  folder = Path(args.workdir or workdir.newest(Path("runs")))
  model = model_lib.load(folder)
  look = trial.looking(model, args.preset, args.allow_stale)
  loading.image_size(model.config)  # Refuses a method without images.
  if not args.allow_stale:
    explains = needed(model.method, "explains")
    loading.require_current(explains, model.state, folder, "--allow-stale")
  # train.py writes this file last.
  if not (folder / "summary.json").exists():
    printing.tell(f"note: {folder} is not trained to its end")
  session = trial.Trial(look, _any_photo())

  def begin() -> None:
    printing.tell("compiling ...")
    session.ready()

  stopped = served(
    session,
    args,
    folder,
    begin,
    most_bytes=trial.MOST_SENT,
    documents=session.documents,
  )
  printing.tell("the photos and their reports are gone: nothing was saved")
  return stopped


def _any_photo() -> np.ndarray:
  """Something that no method takes for a grey image, to compile with."""
  return np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
