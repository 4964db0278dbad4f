"""Editing: a page, or a file, by which a person throws out prototypes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from protojax import loading, printing
from protojax.data import skipped
from protojax.data.stream import Stream
from protojax.datasets import files
from protojax.interact import edited_run
from protojax.interact.atlas_images import Atlas
from protojax.interact.edit_session import EditSession
from protojax.interact.editing import Editor
from protojax.methods.base import needed
from protojax.types import State, UserError
from protojax.writing import opened, require_apart


def editor(
  folder: Path,
  method: Any,
  state: State,
  config: ConfigDict,
  images: list[str] | None = None,
) -> Editor:
  """The editor of a run.

  Args:
    folder: its workdir.
    method: its method.
    state: its newest state.
    config: its config.
    images: of a person's own, to judge by; the run's test images without.

  Raises:
    UserError: the method cannot be edited, or there are no images.
  """
  edits = needed(method, "edits")
  loading.require_living(method, state)
  with loading.described_by(folder, config):
    if images:
      judged = loading.stream(config, files.images(*images))
    else:
      judged = method.stream("test").once()
  for line in skipped.report({"judged": judged.source}):
    printing.tell(line)
  _require_classes(judged, edits.class_names, folder)
  before = edited_run.edits_of(edited_run.earlier(folder), folder)

  def training() -> Stream:
    found = method.stream("train")
    _require_classes(found, edits.class_names, folder)
    return found

  return Editor(edits, state, judged, training, before)


def _require_classes(
  stream: Stream, names: Sequence[str], folder: Path
) -> None:
  """Refuses labels that mean other classes than those of the run."""
  labelled = np.any(np.asarray(stream.source.labels) >= 0)
  if labelled and tuple(stream.source.class_names) != tuple(names):
    raise UserError(
      f"the classes of the images have changed since {folder} was trained;"
      " restore the data as they were, or judge by images of your own with"
      " --images=PATH"
    )


def apply(
  args: argparse.Namespace,
  folder: Path,
  method: Any,
  state: State,
  config: ConfigDict,
) -> None:
  """Applies a file of edits; prints what they do, and saves a run if asked to.

  Args:
    args: of the command `interact`.
    folder: workdir of the run.
    method: of the run.
    state: its newest state.
    config: its config.

  Raises:
    UserError: an edit cannot be, or the run or the figures cannot be written.
  """
  require_apart(args.output, [args.edits, *args.images])
  made = editor(folder, method, state, config, args.images)
  asked = edited_run.read(Path(args.edits), made)
  edited = made(asked.edits, args.edits)
  found = edited_run.figures(made, edited)
  if args.save_as:
    place = Path(args.save_as)
    edited_run.save(place, folder, config, made, asked, edited)
    printing.tell(f"written: {place}")
  with opened(args.output) as file:
    edited_run.write(found, file, args.format)
  printing.tell(edited_run.told(found))


def session(
  args: argparse.Namespace,
  folder: Path,
  method: Any,
  state: State,
  config: ConfigDict,
) -> EditSession:
  """The content of the page of edits; args and errors are those of `apply`."""
  made = editor(folder, method, state, config, args.images)
  atlas = Atlas(method, state, made.edits.network.grid)
  return EditSession(made, folder, config, atlas, args.save_as)
