"""Special pages of a method, beside its report and linked from it.

A method has them if there is a module `pages` beside its own, as in
`methods/NAME/pages.py`, with a function

  def pages(method, state, workdir) -> Iterable[Page]

`methods.pages` finds it. That module may use `report`, which methods may not.
All processes make the pages, so that they may go over images together.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
import re
from typing import NamedTuple

from markupsafe import Markup

from protojax.explain.blocks import Block
from protojax.report import block_drawing, page, page_files
from protojax.report.pictures import Pictures
from protojax.writing import replacing

FOLDER = "pages"


class Page(NamedTuple):
  """A special page.

  Attributes:
    name: of its file, without ".html"; lower-case letters, digits and "-".
    title: its heading, and the text of the links to it.
    lead: what it shows, in one sentence.
    blocks: its content.
    html: more content that no block can show, such as from a template of the
      method (`page.environment(PACKAGE)`); text in it must be escaped.
  """

  name: str
  title: str
  lead: str = ""
  blocks: tuple[Block, ...] = ()
  html: Markup = Markup("")

  @property
  def address(self) -> str:
    """Its file, relative to the folder of the explanations."""
    return f"{FOLDER}/{self.name}.html"


MakePages = Callable[[], Iterable[Page]]


def checked(pages: Iterable[Page]) -> list[Page]:
  """The same pages as a list.

  Raises:
    ValueError: a name is no name of a file, or stands twice.
  """
  found: dict[str, Page] = {}
  for one in pages:
    if not re.fullmatch("[a-z0-9][a-z0-9-]*", one.name) or one.name in found:
      raise ValueError(
        f"a special page is named {one.name!r}; expected lower-case letters,"
        " digits and -, and each name once"
      )
    found[one.name] = one
  return list(found.values())


def write(
  folder: Path, pages: Sequence[Page], run: page.Run, report: str
) -> list[Path]:
  """Writes FOLDER/pages; each page holds its pictures.

  Args:
    folder: of the explanations.
    pages: as `checked` gives them.
    run: the head of the report.
    report: file of the report that the pages link back to, relative to folder.

  Returns:
    The files.

  Raises:
    UserError: there is no room, or no right to write.
  """
  links = [(report, "Report"), *((p.address, p.title) for p in pages)]
  written = []
  for one in pages:
    with Pictures(folder / FOLDER) as pictures:
      blocks = [
        block_drawing.draw(block, pictures.put, f"{one.name}/{n}")
        for n, block in enumerate(one.blocks)
      ]
      others = [link for link in links if link[0] != one.address]
      content = page.render(
        "special.html.jinja",
        run=page.Run(run.title, version=run.version, links=others).down(),
        to=page_files.embedding(pictures.pages),
        title=one.title,
        lead=one.lead,
        blocks=blocks,
        html=one.html,
      )
    written.append(folder / one.address)
    with replacing(written[-1]) as file:
      file.write(content)
  return written
