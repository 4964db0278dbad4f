"""COCO-Stuff: photographs with 182 classes of pixels, things and stuff.

Caesar et al. (CVPR 2018). Read from the unpacked archives: train2017 and
val2017 (or images/train2017), stuffthingmaps_trainval2017.zip in a folder of
that name or at the root of the masks, and labels.txt. In its masks 255 is no
class; eleven of the classes are in no mask.
"""

import os
from typing import Any

from protojax import text_files
from protojax.datasets import mask_coding, masked_files
from protojax.datasets.masked_files import MaskedFiles
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
MASKED = (("stuffthingmaps_trainval2017",), "train2017", "val2017")
FIELDS = masked_files.FIELDS
PUBLISHED = {"classes": 182, "train": 118_287, "test": 5_000}

_NAMES = "labels.txt"
_UNLABELED = "unlabeled"
_VOID = 255
_IMAGES = ("", "images")
_MASKS = ("stuffthingmaps_trainval2017", "stuffthingmaps", "annotations")


def load(data: Any, split: str, seed: int) -> MaskedFiles:
  """Opens a split that a config names: "train2017" or "val2017".

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  root, name = os.path.expanduser(data.root), data[split]
  images = _place(root, _IMAGES, name, "the images of COCO")
  masks = _place(root, _MASKS, name, "stuffthingmaps_trainval2017.zip")
  coding = _coding(os.path.join(root, _NAMES))
  pairs = masked_files.paired(root, images, masks)
  return masked_files.opened(root, pairs, coding)


def _place(root: str, folders: tuple[str, ...], name: str, what: str) -> str:
  tried = [os.path.join(folder, name) for folder in folders]
  for place in tried:
    if os.path.isdir(os.path.join(root, place)):
      return place
  raise UserError(
    f"{root} has none of {', '.join(tried)}: unpack {what} there, and name"
    " train2017 and val2017 with --config.data.train and --config.data.test"
  )


def _coding(path: str) -> mask_coding.Coding:
  """The classes of the list, whose lines are such as "1: person"."""
  if not os.path.isfile(path):
    raise UserError(
      f"there is no {path}: it comes with COCO-Stuff, and names the classes"
    )
  lines = [line for line in text_files.read(path).splitlines() if line.strip()]
  named = [line.partition(":")[::2] for line in lines]
  found = {number.strip(): name.strip() for number, name in named}
  expected = [str(number) for number in range(len(found))]
  if list(found) != expected or found.get("0") != _UNLABELED:
    raise UserError(
      f"{path}: expected the lines 0: {_UNLABELED}, 1: person, and so on"
    )
  # A mask holds the number less 1.
  return mask_coding.numbered(list(found.values())[1:], _VOID, path)
