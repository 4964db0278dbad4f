"""A folder of images that were drawn anew in other conditions.

FOLDER/regenerating.json        what the images were made with
FOLDER/snow/IMAGES/000300.png   an image in snow; IMAGES and LABELS are called
FOLDER/snow/LABELS/000300.txt   as the folders given; labels as they were
FOLDER/snow/measures/000300.npz how it came about
FOLDER/report                   pages with pictures

An image is written last of its files: what has an image is whole.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict
import zipfile

from jaxtyping import UInt8
import numpy as np
from PIL import Image

from protojax import json_files, text_files
from protojax.data import images as images_lib
from protojax.engine.workdir import write_json
from protojax.evaluation.labelled_scenes import Scene
from protojax.types import ArrayLike, UserError
from protojax.writing import first_line, replacing

RECIPE, MEASURES, REPORT = "regenerating.json", "measures", "report"
_WAY_OUT = "name another folder with --output"


class Recipe(TypedDict):
  """What the images of a folder were made with."""

  checkpoint: str
  images: str
  labels: str
  size: list[int]
  settings: dict[str, float | int | str | bool | list[str]]
  prompts: dict[str, str]
  objects: list[str]


def claim(folder: Path, recipe: Recipe) -> None:
  """Writes the recipe, or compares it with that of the images that stand.

  Raises:
    UserError: the folder has images of another recipe; says what differs.
  """
  path = folder / RECIPE
  if path.exists():
    found = json_files.read_json(path, Recipe, _WAY_OUT)
    other = [name for name, wanted in recipe.items() if found[name] != wanted]
    if other:
      raise UserError(
        f"{folder} has images that were made with other {', '.join(other)}:"
        f" {_WAY_OUT}"
      )
    return
  if folder.is_dir() and any(folder.iterdir()):
    raise UserError(
      f"{folder} has files, and no {RECIPE} says what they were made with:"
      f" {_WAY_OUT}"
    )
  write_json(path, recipe)


class Places:
  """Where the files of a condition are."""

  def __init__(self, folder: Path, condition: str, scene: Scene) -> None:
    self._top, self._name = folder / condition.replace(" ", "_"), scene.name
    self._files = scene.files

  @property
  def image(self) -> Path:
    """The image that was drawn."""
    return self._top / self._files[0].parent.name / f"{self._name}.png"

  @property
  def copies(self) -> Sequence[tuple[Path, Path]]:
    """Labels and calibration: as given, and beside the image."""
    return [
      (path, self._top / path.parent.name / path.name)
      for path in self._files[1:]
    ]

  @property
  def measures(self) -> Path:
    """How the image came about."""
    return self._top / MEASURES / f"{self._name}.npz"


def write(
  places: Places,
  image: UInt8[np.ndarray, "H W 3"],
  measures: Mapping[str, ArrayLike],
) -> None:
  """Writes an image and what belongs to it, the image last.

  Raises:
    UserError: there is no room, or no right to write.
  """
  for source, copy in places.copies:
    with text_files.opened(source) as given:
      content = given.read()
    with replacing(copy, "wb") as file:
      file.write(content)
  with replacing(places.measures, "wb") as file:
    arrays: dict[str, Any] = {k: np.asarray(x) for k, x in measures.items()}
    np.savez(file, **arrays)
  with replacing(places.image, "wb") as file:
    Image.fromarray(image).save(file, "PNG")


def measures(places: Places) -> dict[str, np.ndarray]:
  """How an image came about.

  Raises:
    UserError: the file is damaged.
  """
  path = places.measures
  try:
    with text_files.opened(path) as raw, np.load(raw) as file:
      return dict(file)
  except (UserError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(
      f"{path} cannot be read ({first_line(error)}): delete {places.image}, and"
      " run the same command again, which makes both anew"
    ) from error


def image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
  """An image that was given or drawn.

  Raises:
    UserError: it is damaged.
  """
  try:
    return images_lib.decode(path)
  except ValueError as error:
    raise UserError(f"{path} cannot be read: {error}") from error
