"""Stores the pictures of explanations as files, while explanations are made.

A data set has more pictures than memory holds. So each picture is written at
once, an image only once, and the explanation gets a `PictureFile` in its place.
`page_files` puts pages beside the files, or the files into a page.
"""

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
import numpy as np

from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
  Patch,
)
from protojax.explain.picture_file import PictureFile, PictureOrFile
from protojax.report import page
from protojax.types import Box, Picture
from protojax.writing import temporary_folder, writing

_PIECE = 104


def cut_out(picture: Picture, box: Box) -> UInt8[np.ndarray, "side side 3"]:
  """The small picture of a prototype: its box and what is around it."""
  return page.cut(picture, box, _PIECE, picture.shape[0] // 5)


def _piece(
  piece: PictureOrFile | None, picture: PictureOrFile | None, box: Box | None
) -> UInt8[np.ndarray, "side side 3"] | PictureFile | None:
  """The small picture; cut out if there is none yet."""
  if piece is None and box is not None and isinstance(picture, np.ndarray):
    return cut_out(picture, box)
  return piece


class Pictures:
  """The picture files of a report.

  A context manager: it deletes the files at its end, unless a report took them.

  Attributes:
    folder: where the report will be.
    size: of all files, in bytes.
  """

  def __init__(self, folder: Path) -> None:
    self.folder = folder
    self.size = 0
    self._files = contextlib.ExitStack()
    self._stored: dict[str, PictureFile] = {}

  def __enter__(self) -> "Pictures":
    return self

  @functools.cached_property
  def pages(self) -> Path:
    """The folder of the pages and pictures, made when it is needed."""
    folder = temporary_folder(self.folder / "report")
    return self._files.enter_context(folder)

  def __exit__(self, *error: Any) -> None:
    self._files.close()

  def of_image(self, e: LocalExplanation) -> LocalExplanation:
    """The same explanation, with files in place of its pictures.

    Raises:
      UserError: there is no room, or no right to write.
    """
    name = f"{e.split}/{e.index}"
    rows = (
      dataclasses.replace(
        r,
        heat=self._if_any(f"{name}-{r.prototype}", r.heat),
        piece=self._if_any(
          f"{name}-{r.prototype}-piece", _piece(r.piece, e.picture, r.box)
        ),
      )
      for r in e.evidence
    )
    return dataclasses.replace(
      e, picture=self._if_any(name, e.picture), evidence=tuple(rows)
    )

  def of_prototype(self, e: GlobalExplanation) -> GlobalExplanation:
    """The same for a prototype: its patch and its neighbours."""
    patch = e.patch and self._patch(e.patch, f"prototypes/{e.prototype}")
    nearest = {
      split: tuple(
        dataclasses.replace(
          n, picture=self._if_any(f"{split}/{n.index}", n.picture)
        )
        for n in neighbours
      )
      for split, neighbours in e.nearest.items()
    }
    return dataclasses.replace(e, patch=patch, nearest=nearest)

  def of_overview(self, e: Overview) -> Overview:
    """The same for the samples of a split."""
    samples = tuple(
      dataclasses.replace(
        sample,
        pictures={
          name: self.put(f"changed/{e.split}-{n}-{m}", picture)
          for m, (name, picture) in enumerate(sample.pictures.items())
        },
      )
      for n, sample in enumerate(e.samples)
    )
    return dataclasses.replace(e, samples=samples)

  def put(self, name: str, picture: PictureOrFile) -> PictureFile:
    """The file of that name; writes it if it does not exist yet.

    Raises:
      UserError: there is no room, or no right to write.
    """
    if isinstance(picture, PictureFile):
      return picture
    if name not in self._stored:
      self._stored[name] = self._write(f"pictures/{name}.jpg", picture)
    return self._stored[name]

  def _patch(self, patch: Patch, name: str) -> Patch:
    """A patch with files; cuts its piece out if it has none."""
    piece = _piece(patch.piece, patch.picture, patch.box)
    return dataclasses.replace(
      patch,
      picture=self._if_any(f"train/{patch.index}", patch.picture),
      heat=self._if_any(f"{name}-heat", patch.heat),
      piece=self._if_any(name, piece),
    )

  def _if_any(
    self, name: str, picture: PictureOrFile | None
  ) -> PictureFile | None:
    return None if picture is None else self.put(name, picture)

  def _write(self, path: str, picture: Picture) -> PictureFile:
    content = page.jpeg(picture)
    file = self.pages / path
    with writing(file):
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_bytes(content)
    self.size += len(content)
    return PictureFile(path, picture.shape[0], len(content))
