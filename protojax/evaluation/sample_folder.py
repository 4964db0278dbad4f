"""A folder of generated images: `sample` fills it, `evaluate` reads it.

FOLDER/sampling.json      what the images were made with
FOLDER/images/000000.png  image 0, and so on
FOLDER/grid.png           the first images side by side
FOLDER/samples.npz        all of them as arrays, for evaluators of others
FOLDER/prompts.txt        the text of each image, a line each, of a text model
"""

from collections.abc import Sequence
import math
from pathlib import Path
from typing import NotRequired, TypedDict
import zipfile

from jaxtyping import Int, UInt8
import numpy as np
from PIL import Image

from protojax import json_files
from protojax.data import images as images_lib
from protojax.engine.workdir import write_json
from protojax.types import UserError
from protojax.writing import replacing

IMAGES, RECIPE = "images", "sampling.json"
GRID, ARRAYS, PROMPTS = "grid.png", "samples.npz", "prompts.txt"

# Most columns with a class each, and most images of a grid.
_COLUMNS, _CELLS = 16, 100
# Images of a grid have as many pixels a side or more, and a frame.
_SIDE, _FRAME = 64, 2
_WAY_OUT = "name another folder with --output"
# Key of a recipe -> the flag of `sample` that says it.
_FLAGS = {
  "seed": "--seed",
  "guidance": "--guidance",
  "steps": "--steps",
  "only_class": "--class",
  "prompt": "--prompt",
  "size": "--size",
}


class Recipe(TypedDict):
  """What the images of a folder were made with; None: as the config says."""

  method: str
  checkpoint: str
  seed: int
  guidance: float | None
  steps: int | None
  only_class: str | None
  # Not in folders that were filled before models drew by texts.
  prompt: NotRequired[str | None]
  classes: list[str]
  # Height and width; not in folders of before it could be given.
  size: NotRequired[list[int] | None]


def claim(folder: Path, recipe: Recipe) -> None:
  """Writes the recipe, or compares it with that of the images that stand.

  Raises:
    UserError: the folder has images of another recipe, or of none; says which.
  """
  path, inner = folder / RECIPE, folder / IMAGES
  if not (inner.is_dir() and any(inner.iterdir())):
    write_json(path, recipe)
    return
  if not path.exists():
    raise UserError(
      f"{inner} has files, and no {RECIPE} beside it says what they were made"
      f" with: {_WAY_OUT}"
    )
  found = json_files.read_json(path, Recipe, _WAY_OUT)
  different = [
    f"{_FLAGS.get(name, name)}: {_said(found.get(name))} there, {_said(wanted)}"
    " now"
    for name, wanted in recipe.items()
    if found.get(name) != wanted
  ]
  if different:
    raise UserError(
      f"{folder} has images that were made with others"
      f" ({'; '.join(different)}): {_WAY_OUT}"
    )


def _said(value: object) -> str:
  return "not given" if value is None else repr(value)


def place(folder: Path, index: int) -> Path:
  """Where an image stands, or will."""
  return folder / IMAGES / f"{index:06}.png"


def standing(folder: Path, number: int) -> set[int]:
  """Which of the first images stand."""
  # One listing: to ask for each of many takes minutes on a disk of a network.
  names = {path.name for path in (folder / IMAGES).glob("*.png")}
  return {i for i in range(number) if place(folder, i).name in names}


def write(folder: Path, index: int, image: UInt8[np.ndarray, "H W c"]) -> None:
  """Writes an image of 1 or 3 channels.

  Raises:
    UserError: there is no room, or no right to write.
  """
  pixels = image[..., 0] if image.shape[-1] == 1 else image
  with replacing(place(folder, index), "wb") as file:
    Image.fromarray(pixels).save(file, "PNG")


def read(folder: Path, index: int) -> UInt8[np.ndarray, "H W 3"]:
  """An image that stands.

  Raises:
    UserError: it is damaged.
  """
  path = place(folder, index)
  try:
    return images_lib.decode(path)
  except ValueError as error:
    raise UserError(
      f"{path} cannot be read: {error}. Delete it, and run the same command"
      " again, which makes it anew."
    ) from error


def write_grid(folder: Path, number: int, classes: int) -> None:
  """Writes the first images side by side; small ones are enlarged.

  Args:
    folder: of the images.
    number: of the images that stand.
    classes: that come in turns, a column each where they are few; else 1.
  """
  count = min(number, _CELLS)
  columns = math.ceil(math.sqrt(count))
  if 1 < classes <= min(_COLUMNS, count):
    columns, count = classes, min(count, classes * (_CELLS // classes))
  rows = -(-count // columns)
  first = read(folder, 0)
  height, width = first.shape[:2]
  scale = max(1, _SIDE // max(height, width))
  high, wide = height * scale + _FRAME, width * scale + _FRAME
  shape = rows * high + _FRAME, columns * wide + _FRAME, 3
  grid = np.full(shape, 255, np.uint8)
  for i in range(count):
    image = np.repeat(np.repeat(read(folder, i), scale, 0), scale, 1)
    top, left = i // columns * high + _FRAME, i % columns * wide + _FRAME
    grid[top : top + high - _FRAME, left : left + wide - _FRAME] = image
  with replacing(folder / GRID, "wb") as file:
    Image.fromarray(grid).save(file, "PNG")


def write_arrays(
  folder: Path, number: int, labels: Sequence[int] | Int[np.ndarray, " n"]
) -> None:
  """Writes all images as arrays, one after the other: they need not fit memory.

  `arr_0` is uint8 [N H W 3], and `arr_1`, where there are classes, int64 [N],
  the labels. So ADM's evaluator reads them.

  Args:
    folder: of the images.
    number: of the images that stand.
    labels: of all; empty without classes.

  Raises:
    UserError: an image is damaged or has another size; there is no room.
  """
  first = read(folder, 0)
  with (
    replacing(folder / ARRAYS, "wb") as file,
    zipfile.ZipFile(file, "w") as archive,
  ):
    with archive.open(_member("arr_0"), "w", force_zip64=True) as member:
      _header(member, np.uint8, (number, *first.shape))
      for i in range(number):
        image = read(folder, i)
        if image.shape != first.shape:
          raise UserError(
            f"{place(folder, i)} has {image.shape[0]} x {image.shape[1]}"
            f" pixels, and {place(folder, 0)} has {first.shape[0]} x"
            f" {first.shape[1]}: delete it, and run the same command again"
          )
        member.write(image.tobytes())
    if len(labels):
      with archive.open(_member("arr_1"), "w") as member:
        _header(member, np.int64, (number,))
        member.write(np.asarray(labels, np.int64).tobytes())


def write_prompts(folder: Path, texts: Sequence[str]) -> None:
  """Writes the text of each image, a line each."""
  with replacing(folder / PROMPTS) as file:
    file.writelines(" ".join(text.split()) + "\n" for text in texts)


def _member(name: str) -> zipfile.ZipInfo:
  # Without a date: the same images give the same bytes.
  return zipfile.ZipInfo(f"{name}.npy")


def _header(member, kind: type, shape: tuple[int, ...]) -> None:
  described = np.lib.format.dtype_to_descr(np.dtype(kind))
  header = {"descr": described, "fortran_order": False, "shape": shape}
  np.lib.format.write_array_header_1_0(member, header)
