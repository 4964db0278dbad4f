"""The pages of classes: one file for a small run, a folder for a large one.

One file can be sent, but a browser has to read all of it, with its pictures.
A large run becomes a folder instead: an index to search, a page for each class,
and pictures as files, which are loaded when they come into view.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import io
import os
from pathlib import Path
import shutil
from typing import Any

import numpy as np
from PIL import Image

from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
  PictureFile,
)
from protojax.report import class_contents, page
from protojax.report.pictures import Pictures
from protojax.writing import replacing, writing

# The most for one file. Pictures grow by a third when they are embedded, and
# neighbours are embedded again as thumbnails: about 20 MB, the limit of a mail.
_PROTOTYPES = 150
_BYTES = 12_000_000

# (picture, side in pixels or None) -> address.
AddressOf = Callable[..., str]


def write(
  pictures: Pictures,
  run: page.Run,
  prototypes: Sequence[GlobalExplanation],
  images: Sequence[LocalExplanation],
  overviews: Mapping[str, Overview] | None = None,
  statistics: Sequence[Mapping[str, Any]] = (),
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

  Returns:
    The file to open.

  Raises:
    UserError: there is no room, or no right to write.
  """
  prototypes = [pictures.of_prototype(e) for e in prototypes]
  images = [pictures.of_image(e) for e in images]
  overviews = {k: pictures.of_overview(o) for k, o in (overviews or {}).items()}
  values = class_contents.values(run, prototypes, images, overviews, statistics)
  alive = sum(e.alive for e in prototypes)
  if alive <= _PROTOTYPES and pictures.size <= _BYTES:
    return [_write_file(pictures, values)]
  return [_write_folder(pictures, values)]


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


def _write_file(pictures: Pictures, values: dict[str, Any]) -> Path:
  """Writes one page that holds its pictures."""
  groups = values["groups"]
  to = Addresses(groups, [""] * len(groups), _embedding(pictures.pages))
  path = pictures.folder / "report.html"
  content = page.render("report.html.jinja", to=to, single=True, **values)
  with replacing(path) as file:
    file.write(content)
  _remove(pictures.folder / "report")
  return path


def _write_folder(pictures: Pictures, values: dict[str, Any]) -> Path:
  """Writes pages beside the pictures; moves the folder when it is complete."""
  groups = values["groups"]
  names = [f"class-{n}.html" for n in range(len(groups))]
  to = Addresses(groups, names, lambda picture, side=None: picture.path)
  values = {**values, "to": to, "single": False, "pages": names}
  for n, name in enumerate(names):
    content = page.render("class.html.jinja", number=n, **values)
    with replacing(pictures.pages / name) as file:
      file.write(content)
  with replacing(pictures.pages / "index.html") as file:
    file.write(page.render("report.html.jinja", **values))
  path = pictures.folder / "report"
  _remove(path)
  with writing(path):
    os.replace(pictures.pages, path)
    (pictures.folder / "report.html").unlink(missing_ok=True)
  return path / "index.html"


def _embedding(folder: Path) -> AddressOf:
  """Gives addresses that hold the pictures, no larger than they are shown."""

  @functools.cache
  def address(picture: PictureFile, side: int | None = None) -> str:
    content = (folder / picture.path).read_bytes()
    if side is None or side >= picture.side:
      return page.uri(content)
    with Image.open(io.BytesIO(content)) as image:
      small = image.resize((side, side), Image.Resampling.LANCZOS)
    return page.uri(np.asarray(small))

  return address


def _remove(folder: Path) -> None:
  """Deletes an earlier report in a folder."""
  with writing(folder):
    if folder.is_dir():
      shutil.rmtree(folder)
