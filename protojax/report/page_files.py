"""Files of a report's pages: one file, or a folder with pictures beside.

One file can be sent, but a browser has to read all of it, with its pictures.
The pages of a large report lie in the folder `report` instead, and pictures
are loaded when they come into view.
"""

from collections.abc import Callable, Iterable
import functools
import io
import os
from pathlib import Path
import shutil

import numpy as np
from PIL import Image

from protojax.explain.picture_file import PictureFile
from protojax.report import page
from protojax.report.pictures import Pictures
from protojax.writing import replacing, writing

# The most for one file. Pictures grow by a third when they are embedded, and
# thumbnails come on top: about 20 MB, the limit of a mail.
BYTES = 12_000_000

# (picture, side in pixels or None) -> address.
AddressOf = Callable[..., str]


def embedding(folder: Path) -> AddressOf:
  """Gives addresses that hold the pictures, no larger than they are shown.

  Args:
    folder: of the pages; see `Pictures`.
  """

  @functools.cache
  def address(picture: PictureFile, side: int | None = None) -> str:
    content = (folder / picture.path).read_bytes()
    if side is None or side >= picture.side:
      return page.uri(content)
    with Image.open(io.BytesIO(content)) as image:
      small = image.resize((side, side), Image.Resampling.LANCZOS)
    return page.uri(np.asarray(small))

  return address


def beside(picture: PictureFile, side: int | None = None) -> str:
  """The address of a picture from a page in the same folder."""
  return picture.path


def write_one(pictures: Pictures, content: str) -> Path:
  """Writes `report.html`; deletes an earlier report that is a folder.

  Raises:
    UserError: there is no room, or no right to write.
  """
  path = pictures.folder / "report.html"
  with replacing(path) as file:
    file.write(content)
  _remove(pictures.folder / "report")
  return path


def write_folder(
  pictures: Pictures, contents: Iterable[tuple[str, str]]
) -> Path:
  """Writes pages beside the pictures; moves the folder when it is complete.

  Deletes an earlier report.

  Args:
    pictures: of the pages.
    contents: name of a file and its content; "index.html" is among them.

  Returns:
    The index.

  Raises:
    UserError: there is no room, or no right to write.
  """
  for name, content in contents:
    with replacing(pictures.pages / name) as file:
      file.write(content)
  path = pictures.folder / "report"
  _remove(path)
  with writing(path):
    os.replace(pictures.pages, path)
    (pictures.folder / "report.html").unlink(missing_ok=True)
  return path / "index.html"


def _remove(folder: Path) -> None:
  """Deletes an earlier report in a folder."""
  with writing(folder):
    if folder.is_dir():
      shutil.rmtree(folder)
