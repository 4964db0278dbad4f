"""The page of one explanation: of an image, or of a prototype.

It has the cards of the reports, without what holds over many images. Pictures
are inside, so that it is one text that loads nothing.
"""

from collections.abc import Sequence
from pathlib import Path
import tempfile
from typing import Any

from protojax.explain.blocks import Explanation
from protojax.explain.evidence import GlobalExplanation, LocalExplanation
from protojax.explain.inspection import Inspection
from protojax.report import (
  block_drawing,
  class_contents,
  class_pages,
  defect_page,
  page,
  page_files,
)
from protojax.report.pictures import Pictures


def render(
  run: page.Run,
  explained: LocalExplanation | GlobalExplanation | Inspection | Explanation,
  compared: Sequence[GlobalExplanation] = (),
) -> str:
  """The page as HTML.

  Args:
    run: the head, of which a title, a mode and notes are shown.
    explained: with its pictures.
    compared: the prototypes that the image is compared with.
  """
  if isinstance(explained, Inspection):
    return defect_page.render_one(run, explained)
  with (
    tempfile.TemporaryDirectory() as folder,
    Pictures(Path(folder)) as pictures,
  ):
    if isinstance(explained, Explanation):
      return _in_blocks(run, explained, pictures)
    if isinstance(explained, GlobalExplanation):
      return _of_classes("one_prototype", run, [], [explained], pictures)
    return _of_classes("one_image", run, [explained], compared, pictures)


def _in_blocks(run: page.Run, e: Explanation, pictures: Pictures) -> str:
  drawn = block_drawing.explanation(e, pictures.put)
  to = page_files.embedding(pictures.pages)
  return page.render("one_in_blocks.html.jinja", run=run, e=drawn, to=to)


def _of_classes(
  template: str,
  run: page.Run,
  images: Sequence[LocalExplanation],
  compared: Sequence[GlobalExplanation],
  pictures: Pictures,
) -> str:
  prototypes = [pictures.of_prototype(e) for e in compared]
  shown = [pictures.of_image(e) for e in images]
  values: dict[str, Any] = class_contents.values(
    run, prototypes, shown, {}, (), {}, {}
  )
  groups = values["groups"]
  to = class_pages.Addresses(
    groups, [""] * len(groups), page_files.embedding(pictures.pages)
  )
  return page.render(
    f"{template}.html.jinja", to=to, images=shown, compared=prototypes, **values
  )
