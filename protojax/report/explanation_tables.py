"""Tables of explanations for other programs: CSV, NPZ and JSON.

Every file is written beside its place and moved there when it is complete, so
an interrupted run leaves no half table. The columns of the scores are those of
the paper's code.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from protojax.csv_files import Writer
from protojax.explain.evidence import (
  GlobalExplanation,
  GlobalScores,
  LocalExplanation,
)
from protojax.prototypes.groups import Note
from protojax.writing import json_text, replacing


@contextlib.contextmanager
def local_table(path: Path) -> Iterator[Any]:
  """Opens `local.csv`; gives a function that adds an explanation.

  One row for each of the top prototypes of each image and each modification.
  """
  with replacing(path) as file:
    writer = Writer(file)
    writer.row(
      ("image", "prototype", "modification", "delta", "orig_similarity")
    )

    def add(explained: LocalExplanation) -> None:
      writer.rows(
        (
          explained.image,
          row.prototype,
          name,
          number(delta),
          number(row.similarity),
        )
        for row in explained.evidence
        for name, delta in row.because.items()
      )

    yield add


def local_arrays(
  path: Path,
  explained: Sequence[LocalExplanation],
  modifications: Sequence[str],
) -> None:
  """Writes `local.npz`: the scores of every image for every prototype.

  Arrays: image [n] (names), split [n], modification [m], similarity [n p],
  cell [n p], delta [n m p].

  Raises:
    ValueError: the explanations were made without `keep_all`.
  """
  found = [e.all_scores for e in explained if e.all_scores is not None]
  if len(found) != len(explained):
    raise ValueError("explanations without all scores: use keep_all=True")
  with replacing(path, "wb") as file:
    np.savez(
      file,
      image=np.array([e.image for e in explained], np.str_),
      split=np.array([e.split for e in explained], np.str_),
      modification=np.array(modifications, np.str_),
      similarity=np.array([w.similarity for w in found]),
      cell=np.array([w.cell for w in found]),
      delta=np.array([w.delta for w in found]),
    )


def global_table(path: Path, scores: Mapping[int, GlobalScores]) -> None:
  """Writes `global_train.csv` or `global_test.csv`: phi_global.

  Args:
    path: of the file.
    scores: prototype -> its scores; dead prototypes are left out.
  """
  with replacing(path) as file:
    writer = Writer(file)
    writer.row(("prototype", "modification", "weighted_delta"))
    writer.rows(
      (prototype, name, number(score))
      for prototype, because in sorted(scores.items())
      for name, score in because.scores.items()
    )


def prototype_table(path: Path, explained: Iterable[GlobalExplanation]) -> None:
  """Writes `prototypes.csv`: the patch of each prototype.

  A box is "top left bottom right", bottom and right excluded: "box" in pixels
  of the network's input, to which the image is squashed, and "original_box" in
  pixels of the image itself. Image, cell and boxes are empty before a push. The
  notes of the method are the last columns.
  """
  explained = list(explained)
  names = list(dict.fromkeys(name for e in explained for name in e.notes))
  places = ("image", "cell", "box", "original_box")
  columns = ("prototype", "class", *places, "alive")
  with replacing(path) as file:
    writer = Writer(file)
    writer.row((*columns, *names))
    for e in explained:
      where = ("",) * len(places)
      if e.patch is not None:
        boxes = (e.patch.box, e.patch.original_box or ())
        written = (" ".join(map(str, box)) for box in boxes)
        where = (e.patch.image, e.patch.cell, *written)
      notes = (_written(e.notes.get(name, "")) for name in names)
      writer.row((e.prototype, e.group, *where, int(e.alive), *notes))


def _written(note: Note) -> str:
  return note if isinstance(note, str) else number(note)


def statistics_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
  """Writes `statistics.csv`: split, modification, statistic and value."""
  with replacing(path) as file:
    writer = Writer(file)
    columns = ("split", "modification", "statistic")
    writer.row((*columns, "value"))
    writer.rows(
      (*(row[name] for name in columns), number(row["value"])) for row in rows
    )


def summary(path: Path, content: Mapping[str, Any]) -> None:
  """Writes a mapping as JSON."""
  with replacing(path) as file:
    file.write(json_text(content, indent=2) + "\n")


def number(value: float | int) -> str:
  """A number to eight figures."""
  return f"{value:.8g}"
