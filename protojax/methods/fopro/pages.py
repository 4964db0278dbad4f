"""The page of what was thrown out of the training images, worst first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxtyping import Int
import numpy as np

from protojax.explain import shapes
from protojax.explain.blocks import (
  Block,
  Gallery,
  Note,
  Picture,
  Sentence,
  Table,
)
from protojax.methods.fopro import cleaning_list, web
from protojax.methods.fopro.explanation import Exemplars, reason
from protojax.methods.fopro.verdicts import Verdicts
from protojax.report.special_pages import Page
from protojax.types import State

# Images of each verdict on the page.
_SHOWN = 60


def pages(method: Any, state: State, workdir: Path) -> Iterator[Page]:
  """One page, if the training images are there."""
  judged = Exemplars(method, state).judged
  if judged is None:
    return
  listed, found = judged
  data = method.stream("train")
  names = method.dataset.class_names
  changed = found.kept & (found.label != listed.labels)
  list_ = workdir / cleaning_list.FILE
  yield Page(
    "cleaning",
    "Cleaned labels",
    "What was thrown out of the training images or got a new label, and why;"
    " the worst first.",
    (
      Note(
        f"All lines are in {list_}. Correct them, write yes under checked where"
        " an image shall be trusted as a few-shot image is, and train again:"
        " give the file to the key cleaning.corrected of the config."
      ),
      Sentence(
        "The vote is the share, 0 to 1, that classifier and prototypes give a"
        " class; the relation, 0 to 1, says how well an image goes with the"
        " prototype of its label. A label that neither speaks for is dropped,"
        " or replaced where the vote for another class is large enough."
      ),
      _by_class(names, listed, found),
      *_shown("Dropped", ~found.kept, data, names, listed, found),
      *_shown("Relabelled", changed, data, names, listed, found),
    ),
  )


def _shown(
  title: str,
  which: np.ndarray,
  data: Any,
  names: tuple[str, ...],
  listed: web.Listed,
  found: Verdicts,
) -> Iterator[Block]:
  """Pictures of images, those with the least for their label first."""
  at: Int[np.ndarray, " n"] = np.flatnonzero(which)
  if not len(at):
    yield Note(f"{title}: no image.")
    return
  at = at[np.argsort(-found.doubt[at], kind="stable")]
  first = at[:_SHOWN]
  images = data.examples(first)["image"]
  pictures = tuple(
    Picture(
      np.asarray(image),
      f"{data.source.name(int(i))}. {reason(names, listed, found, int(i))}",
      stretch=shapes.ratio(data, int(i)),
    )
    for image, i in zip(images, first, strict=True)
  )
  yield Gallery(pictures, f"{title}: {len(at):,}, of which {len(first)} here")


def _by_class(
  names: tuple[str, ...], listed: web.Listed, found: Verdicts
) -> Table:
  """Counts by the given label."""
  rows = []
  for k, name in enumerate(names):
    own = (listed.labels == k) & ~listed.trusted
    kept = own & found.kept
    changed = kept & (found.label != k)
    new = found.kept & (found.label == k) & (listed.labels != k)
    rows.append(
      (
        name,
        int(own.sum()),
        int((kept & ~changed).sum()),
        int(changed.sum()),
        int((own & ~found.kept).sum()),
        int(new.sum()),
      )
    )
  columns = "class", "web images", "kept", "relabelled", "dropped", "taken in"
  return Table(columns, tuple(rows), "Verdicts by class")
