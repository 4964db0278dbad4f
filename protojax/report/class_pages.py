"""The pages of classes: one file for a small run, a folder for a large one.

A large run becomes an index to search, a page for each class, and pictures as
files; see `page_files`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
)
from protojax.report import class_contents, page, page_files
from protojax.report.page_files import AddressOf
from protojax.report.pictures import Pictures

# The most for one file.
_PROTOTYPES = 150


def write(
  pictures: Pictures,
  run: page.Run,
  prototypes: Sequence[GlobalExplanation],
  images: Sequence[LocalExplanation],
  overviews: Mapping[str, Overview] | None = None,
  statistics: Sequence[Mapping[str, Any]] = (),
  answers: Mapping[tuple[str, str], int] | None = None,
  in_use: Mapping[tuple[int, str], float] | None = None,
) -> list[Path]:
  """Writes `report.html`, or the folder `report` with its `index.html`.

  Deletes an earlier report, of either form.

  Args:
    pictures: those of the explanations; has the folder to write to.
    run: the head.
    prototypes: one explanation each, with the scores of all splits.
    images: those without a picture are left out.
    overviews: split -> its overview.
    statistics: rows of `statistics.rows`.
    answers: (label, predicted class) -> number of images.
    in_use: (prototype, predicted class) -> points that it gave to it.

  Returns:
    The file to open.

  Raises:
    UserError: there is no room, or no right to write.
  """
  prototypes = [pictures.of_prototype(e) for e in prototypes]
  images = [pictures.of_image(e) for e in images]
  overviews = {k: pictures.of_overview(o) for k, o in (overviews or {}).items()}
  values = class_contents.values(
    run, prototypes, images, overviews, statistics, answers or {}, in_use or {}
  )
  alive = sum(e.alive for e in prototypes)
  if alive <= _PROTOTYPES and pictures.size <= page_files.BYTES:
    return [page_files.write_one(pictures, _file(pictures, values))]
  return [page_files.write_folder(pictures, _folder(values))]


class Addresses:
  """Addresses of classes, prototypes, images and pictures, from any page.

  An empty address means that the page does not show it.

  Attributes:
    picture: gives the address of a picture file; its second argument is the
      side in pixels at which the picture is shown.
  """

  def __init__(
    self,
    groups: Sequence[class_contents.Group],
    pages: Sequence[str],
    picture: AddressOf,
  ) -> None:
    self.picture = picture
    self._addresses: dict[tuple, str] = {}
    for n, (group, address) in enumerate(zip(groups, pages, strict=True)):
      self._addresses["class", group.name] = f"{address}#class-{n}"
      for e in group.alive:
        where = f"{address}#prototype-{e.prototype}"
        self._addresses["prototype", e.prototype] = where
      for e in group.images:
        where = f"{address}#image-{e.split}-{e.index}"
        self._addresses["image", e.split, e.index] = where

  def group(self, name: str) -> str:
    """The address of a class or another group."""
    return self._addresses.get(("class", name), "")

  def prototype(self, number: int) -> str:
    """The address of the card of a prototype."""
    return self._addresses.get(("prototype", number), "")

  def image(self, split: str, index: int) -> str:
    """The address of the explanation of an image."""
    return self._addresses.get(("image", split, index), "")


def _file(pictures: Pictures, values: dict[str, Any]) -> str:
  """One page that holds its pictures."""
  groups = values["groups"]
  picture = page_files.embedding(pictures.pages)
  to = Addresses(groups, [""] * len(groups), picture)
  return page.render("report.html.jinja", to=to, single=True, **values)


def _folder(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
  """A page for each class, and the index."""
  groups = values["groups"]
  names = [f"class-{n}.html" for n in range(len(groups))]
  to = Addresses(groups, names, page_files.beside)
  run = values["run"].down()
  values = {**values, "run": run, "to": to, "single": False, "pages": names}
  for n, name in enumerate(names):
    yield name, page.render("class.html.jinja", number=n, **values)
  yield "index.html", page.render("report.html.jinja", **values)
