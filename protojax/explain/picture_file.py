"""A picture of an explanation that is stored as a file."""

from typing import NamedTuple

from protojax.types import Picture


class PictureFile(NamedTuple):
  """A picture stored as a file; see `report.pictures`.

  Attributes:
    path: of the file, relative to the folder of the pages.
    side: height and width in pixels.
    size: of the file, in bytes.
  """

  path: str
  side: int
  size: int


PictureOrFile = Picture | PictureFile
