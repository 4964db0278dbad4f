"""PASCAL VOC 2012: photographs with 20 classes of pixels and the background.

Everingham et al. (2010), with the masks of SBD (Hariharan et al., ICCV 2011) if
they are there. Read from the unpacked archive: VOC2012, at the root or in its
VOCdevkit, with ImageSets/Segmentation, JPEGImages and SegmentationClass. Of a
list whose name ends in _aug the masks are those of SegmentationClassAug.
"""

from collections.abc import Callable
import glob
import os
from typing import Any

from protojax import text_files
from protojax.datasets import masked_files
from protojax.datasets.mask_coding import Coding
from protojax.datasets.masked_files import MaskedFiles, Pair
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
MASKED = (("VOCdevkit", "VOC2012"), "train", "val")
FIELDS = masked_files.FIELDS
PUBLISHED = {"classes": 21, "train": 1_464, "test": 1_449}

_CLASSES = (
  *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus"),
  *("car", "cat", "chair", "cow", "diningtable", "dog", "horse", "motorbike"),
  *("person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_CODING = Coding(_CLASSES, tuple(range(len(_CLASSES))), void=(255,))
_LISTS = os.path.join("ImageSets", "Segmentation")


def load(data: Any, split: str, seed: int) -> MaskedFiles:
  """Opens a split that a config names by its list, such as "train_aug".

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  home = _home(os.path.expanduser(data.root))
  name = data[split]
  path = os.path.join(home, _LISTS, f"{name}.txt")
  if not os.path.isfile(path):
    raise UserError(
      f"--config.data.{split}={name!r}: there is no {path}; name a list of that"
      " folder, such as train or val"
    )
  masks = (
    "SegmentationClassAug" if name.endswith("_aug") else "SegmentationClass"
  )
  # Lists of SBD have paths of the image and of the mask; the first is enough.
  lines = text_files.read(path).splitlines()
  stems = [
    os.path.splitext(os.path.basename(line.split()[0]))[0]
    for line in lines
    if line.strip()
  ]
  pairs = [Pair(f"JPEGImages/{x}.jpg", f"{masks}/{x}.png") for x in stems]
  return masked_files.opened(home, pairs, _CODING, _parts(home))


def _parts(home: str) -> Callable[[Pair], str]:
  """Where Pascal-Panoptic-Parts lies, if it was unpacked there, too."""
  folders = glob.glob("pascal_panoptic_parts*/labels/*/", root_dir=home)

  def part_of(pair: Pair) -> str:
    stem = os.path.splitext(os.path.basename(pair.image))[0]
    known = [os.path.join(folder, stem) for folder in sorted(folders)]
    own = (x for x in known if os.path.isfile(os.path.join(home, f"{x}.tif")))
    return next(own, "")

  return part_of


def _home(root: str) -> str:
  for place in ("VOC2012", os.path.join("VOCdevkit", "VOC2012"), ""):
    home = os.path.join(root, place)
    if os.path.isdir(os.path.join(home, _LISTS)):
      return home
  raise UserError(
    f"{root} has no VOC2012/ImageSets/Segmentation: unpack"
    " VOCtrainval_11-May-2012.tar there"
  )
