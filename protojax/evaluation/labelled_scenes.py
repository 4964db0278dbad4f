"""Images with labels of objects, in two folders: the layout of KITTI.

IMAGES/000300.png   an image
LABELS/000300.txt   its objects; see `kitti_labels`
CALIB/000300.txt    its calibration, if a third folder is named
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
import numpy as np

from protojax.data import images as images_lib
from protojax.datasets import kitti_labels
from protojax.shown import shown
from protojax.types import UserError

# Pixels by which a box may end behind the image: KITTI's end at its last one.
_BEYOND = 1.0


class Scene(NamedTuple):
  """An image and its objects.

  Attributes:
    name: of the files, without suffix.
    files: image, labels and, if there is, calibration.
    size: height and width, in pixels.
    names: of the objects.
    boxes: top, left, bottom and right of each, in pixels.
  """

  name: str
  files: tuple[Path, ...]
  size: tuple[int, int]
  names: tuple[str, ...]
  boxes: Float[np.ndarray, "n 4"]


def read(
  images: Path,
  labels: Path,
  calibration: Path | None = None,
  wanted: Sequence[str] = (),
) -> tuple[list[Scene], list[tuple[str, str]]]:
  """The images of a folder that have objects, and (name, reason) of others.

  Args:
    images, labels, calibration: folders.
    wanted: names of objects that count; empty: all but "DontCare".

  Raises:
    UserError: a folder has no images, an image has no labels or calibration, a
      label cannot be read, or none has an object.
  """
  suffixes = images_lib.suffixes()
  if not images.is_dir():
    raise UserError(f"{images} is no folder of images")
  found = [p for p in sorted(images.iterdir()) if p.suffix.lower() in suffixes]
  if not found:
    raise UserError(f"{images} has no images: give the folder that they are in")
  scenes, skipped = [], []
  for path in found:
    files = [path, _beside(labels, path, "labels", "--labels")]
    if calibration is not None:
      files.append(_beside(calibration, path, "calibration", "--calibration"))
    try:
      with images_lib.opened(path) as picture:
        width, height = picture.size
    except ValueError as error:
      skipped.append((str(path), str(error)))
      continue
    names, boxes = _objects(files[1], (height, width), wanted)
    if names:
      scenes.append(
        Scene(path.stem, tuple(files), (height, width), names, boxes)
      )
    else:
      skipped.append((str(path), f"{files[1]} has no object to hold"))
  if not scenes:
    which = f" called {', '.join(wanted)}" if wanted else ""
    raise UserError(f"none of the {len(found)} images has an object{which}")
  return scenes, skipped


def _beside(folder: Path, image: Path, what: str, flag: str) -> Path:
  path = folder / f"{image.stem}.txt"
  if not path.is_file():
    raise UserError(f"{image} has no {what}: there is no {path} ({flag})")
  return path


def _objects(
  path: Path, size: tuple[int, int], wanted: Sequence[str]
) -> tuple[tuple[str, ...], Float[np.ndarray, "n 4"]]:
  """Names and boxes of a file of labels."""
  found = kitti_labels.read(path)
  names, boxes = [], []
  for number, (name, box) in enumerate(
    zip(found.kinds, found.boxes, strict=True), 1
  ):
    if name == kitti_labels.DONT_CARE or (wanted and name not in wanted):
      continue
    left, top, right, bottom = map(float, box)
    height, width = size
    across = 0 <= left < right <= width + _BEYOND
    if not (across and 0 <= top < bottom <= height + _BEYOND):
      raise UserError(
        f"{path}: the box of object {number} ({shown(name)}), {left:g} {top:g}"
        f" {right:g} {bottom:g} (left, top, right, bottom), does not lie in the"
        f" image, which is {width} x {height}"
      )
    names.append(name)
    boxes.append((top, left, bottom, right))
  return tuple(names), np.array(boxes, float).reshape(-1, 4)
