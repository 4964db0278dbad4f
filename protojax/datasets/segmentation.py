"""Prepares images with masks, of any layout that is read, as one plain folder.

The source is a folder with Cityscapes, ADE20K, COCO-Stuff or VOC 2012, or one
that `mask_folder` reads. Written are the images, index PNGs whose values are
the classes in their order and 255 for none, masks of parts where there are
some, and classes.txt.
"""

from collections.abc import Callable
import os
from pathlib import Path
import shutil
from typing import Any

from ml_collections import ConfigDict
import numpy as np
from PIL import Image

from protojax import datasets, finding
from protojax.data import objects
from protojax.datasets.array_records import Outcome
from protojax.datasets.mask_coding import VOID
from protojax.datasets.masked_files import MaskedFiles
from protojax.types import UserError
from protojax.writing import replacing

# What is declared of a data set; see `protojax.datasets`.
PREPARES = "images with masks, of any layout that is read, as a plain folder"
WRITES = "mask_folder"
TRAINS = "scaleprotoseg_folder"

# Where no data set is recognised: a plain folder, and its splits.
_PLAIN = WRITES, "train", "test"
_SPLITS = "train", "test"


def prepare(
  source: str,
  output: str,
  begin: Callable[[int], Any],
  advance: Callable[[], Any],
) -> Outcome:
  """Writes both splits.

  Args:
    source: a folder with one of the layouts.
    output: the folder to write to; made if it is not there.
    begin: called with the number of images.
    advance: called after each image.

  Raises:
    UserError: the source is not as expected, or the output holds something.
  """
  home = Path(output)
  if home.exists() and (not home.is_dir() or any(home.iterdir())):
    raise UserError(
      f"{home} holds something already: empty it, or take another --output"
    )
  read = {split: _opened(source, split) for split in _SPLITS}
  names = read["train"].class_names
  if strange := [n for n in names if n != n.strip() or "\n" in n]:
    raise UserError(f"the class {strange[0]!r} cannot stand in a line")
  begin(sum(map(len, read.values())))
  for split, found in read.items():
    for i in range(len(found)):
      _write(home / split, found, i)
      advance()
  # Last: without it nothing is taken for whole.
  with replacing(home / "classes.txt") as file:
    file.write("".join(f"{name}\n" for name in names))
  return Outcome(
    {split: len(found) for split, found in read.items()},
    tuple(x for found in read.values() for x in found.skipped),
  )


def _opened(source: str, split: str) -> Any:
  root = os.path.expanduser(source)
  if not os.path.isdir(root):
    raise UserError(f"--source={source} is no folder: unpack the archive first")
  known = (
    (name, train, test)
    for name, (holds, train, test) in finding.constants(
      datasets.__name__, "MASKED"
    ).items()
    if any(os.path.exists(os.path.join(root, each)) for each in holds)
  )
  name, train, test = next(known, _PLAIN)
  config = {"root": root, "train": train, "test": test, "masks": "masks"}
  config |= {"classes": (), "void": VOID, "test_fraction": 0.4}
  return datasets.find(name).load(ConfigDict(config), split, 0)


def _write(folder: Path, source: Any, i: int) -> None:
  """An image, its mask, and its parts if they are known."""
  example = source[i]
  stem = f"{i:06d}-{Path(source.name(i)).stem}".replace(" ", "-")
  if isinstance(source, MaskedFiles):
    path = Path(source.root) / source.pairs[i].image
    target = folder / "images" / f"{stem}{path.suffix.lower()}"
    with path.open("rb") as given, replacing(target, "wb") as file:
      shutil.copyfileobj(given, file)
  else:
    _save(folder / "images" / f"{stem}.png", example["image"])
  _save(folder / "masks" / f"{stem}.png", example["mask"].astype(np.uint8))
  if isinstance(source, objects.PartMasked):
    parts = source.part_plane(i)
    if parts is not None:
      _save(folder / "parts" / f"{stem}.png", parts.astype(np.uint8))


def _save(path: Path, pixels: np.ndarray) -> None:
  picture: Any = Image.fromarray(pixels)
  with replacing(path, "wb") as file:
    picture.save(file, "PNG")
