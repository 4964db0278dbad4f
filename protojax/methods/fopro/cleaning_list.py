"""The list of cleaned labels: WORKDIR/cleaning.csv, which a person can correct.

A line for each training image: its name, the label that it was given, what
became of it, its new label, w and rho, whether it is a few-shot image, and an
empty column "checked". Whoever writes "yes" there says that the line is right:
given back, the image is then trusted as a few-shot image is.
"""

from pathlib import Path

import numpy as np

from protojax import csv_files
from protojax.data.source import Source
from protojax.methods.fopro import web
from protojax.methods.fopro.verdicts import DROPPED, KEPT, RELABELLED, Verdicts
from protojax.types import UserError
from protojax.writing import replacing

FILE = "cleaning.csv"
_IMAGE, _GIVEN, _VERDICT, _LABEL = "image", "given_label", "verdict", "label"
_CHECKED, _YES, _NO = "checked", ("yes", "1", "true"), ("", "no", "0", "false")
_COLUMNS = (
  _IMAGE,
  _GIVEN,
  _VERDICT,
  _LABEL,
  "confidence",
  "relation",
  "few_shot",
  _CHECKED,
)
_WORDS = (KEPT, RELABELLED, DROPPED)


def write(
  path: Path, source: Source, found: Verdicts, listed: web.Listed
) -> None:
  """Writes the list of all training images.

  Raises:
    UserError: there is no room, or no right to write.
  """
  names = source.class_names
  with replacing(path) as file:
    writer = csv_files.Writer(file)
    writer.row(_COLUMNS)
    for i, given in enumerate(listed.labels):
      writer.row(
        (
          source.name(i),
          names[given],
          found.word(i, int(given)),
          names[found.label[i]],
          f"{found.confidence[i]:.6g}",
          f"{found.relation[i]:.6g}",
          "yes" if listed.trusted[i] else "",
          "",
        )
      )


def listed(source: Source, corrected: str = "") -> web.Listed:
  """The training images as they are, or as a list says.

  Args:
    source: the training images.
    corrected: path of a list; '' for none. Images without a line stay as they
      are.

  Raises:
    UserError: the list cannot be read, names an image or a class that there is
      not, has another verdict, or leaves nothing.
  """
  labels = np.array(source.labels, np.int32)
  trusted, used = web.trusted(source), np.ones(len(labels), bool)
  if corrected:
    _correct(corrected, source, labels, trusted, used)
  rows = np.flatnonzero(used).astype(np.int32)
  return web.Listed(labels, trusted, rows)


def _correct(
  path: str,
  source: Source,
  labels: np.ndarray,
  trusted: np.ndarray,
  used: np.ndarray,
) -> None:
  """Changes the three columns as a list says."""
  table = csv_files.read(path)
  for column in (_IMAGE, _VERDICT, _LABEL):
    if column not in table.columns:
      raise UserError(
        f"{path} has no column {column!r}: give a corrected {FILE} of a run,"
        f" with {', '.join(_COLUMNS)}"
      )
  at = {source.name(i): i for i in range(len(source))}
  classes = {name: k for k, name in enumerate(source.class_names)}
  for line, cells in table.rows:
    where = f"{path}, line {line}"
    image, word = cells[_IMAGE], cells.get(_VERDICT, "")
    label, checked = cells.get(_LABEL, ""), cells.get(_CHECKED, "").lower()
    if image not in at:
      raise UserError(f"{where}: no training image is called {image!r:.200}")
    if word not in _WORDS:
      raise UserError(
        f"{where}: the verdict is {word!r:.40}; expected {', '.join(_WORDS)}"
      )
    if checked not in (*_YES, *_NO):
      raise UserError(
        f"{where}: {_CHECKED} is {checked!r:.40}; expected yes or nothing"
      )
    i = at[image]
    used[i] = word != DROPPED
    if word == DROPPED:
      continue
    if label not in classes:
      raise UserError(
        f"{where}: there is no class {label!r:.80}; there are"
        f" {', '.join(source.class_names[:8])}"
        f"{', ...' * (len(classes) > 8)}"
      )
    labels[i] = classes[label]
    trusted[i] |= checked in _YES
  if not used.any():
    raise UserError(f"{path} drops all training images")
