"""A folder of images with masks of the same name.

  root/classes.txt                             a line for each class
  root/train/images/a.jpg, root/train/masks/a.png
  root/images/train/a.jpg, root/masks/train/a.png
  root/train/a.png, root/trainannot/a.png      with data.masks=annot
  root/images/a.jpg, root/masks/a.png          a seed divides them

The first of these layouts that is there is read. A mask is an index PNG, whose
values are the classes in their order, or has the colours that classes.txt gives
(road 128 64 128). In place of classes.txt, data.classes may name the classes.
`data.void` is the value of pixels without a class. Where a folder "parts" lies
in the place of the one of the masks, it says which part of its object a pixel
shows, for metrics.
"""

from collections.abc import Callable
import os
from typing import Any

from protojax import ranges
from protojax.data import splits as splits_lib
from protojax.datasets import mask_coding, masked_files
from protojax.datasets.mask_coding import Coding
from protojax.datasets.masked_files import MaskedFiles, Pair
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = masked_files.FIELDS

_CLASSES = "classes.txt"
_IMAGES = "images"
_PARTS = "parts"


def load(data: Any, split: str, seed: int) -> MaskedFiles:
  """Opens the training or test split of `data.root`.

  Args:
    data: `root`, `train` and `test` (names of the splits), `masks` (of the
      folders of masks), `classes`, `void` and `test_fraction`.
    split: "train" or "test".
    seed: divides the images, if nothing else does.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  ranges.whole(-1, 65_535).require("data.void", data.void)
  root = os.path.expanduser(data.root)
  if not os.path.isdir(root):
    raise UserError(f"--config.data.root={data.root} is no folder")
  coding = _coding(root, data)
  name, masks = data[split], data.masks
  layouts = (
    (f"{name}/{_IMAGES}", f"{name}/{masks}"),
    (f"{_IMAGES}/{name}", f"{masks}/{name}"),
    (name, f"{name}{masks}"),
  )
  for images, own in layouts:
    if all(os.path.isdir(os.path.join(root, place)) for place in (images, own)):
      part_of = _beside(own, own.replace(masks, _PARTS))
      return masked_files.opened(
        root, masked_files.paired(root, images, own), coding, part_of
      )
  whole = masked_files.paired(root, _IMAGES, masks)
  if not whole:
    tried = ", ".join(" beside ".join(places) for places in layouts)
    raise UserError(
      f"{root} has none of {tried}, and no images in {_IMAGES} beside {masks}:"
      " name the folders of the splits with --config.data.train and"
      " --config.data.test, and those of the masks with --config.data.masks"
    )
  if len(whole) < 2:
    raise UserError(f"{root} holds a single image; two splits need two")
  held = _held(whole, data.test_fraction, seed)
  chosen = [p for i, p in enumerate(whole) if (i in held) == (split == "test")]
  part_of = _beside(masks, _PARTS)
  return masked_files.opened(root, chosen, coding, part_of)


def _beside(masks: str, parts: str) -> Callable[[Pair], str]:
  """Masks of parts have the names of the masks, in another folder."""

  def part_of(pair: Pair) -> str:
    stem = os.path.splitext(os.path.relpath(pair.mask, masks))[0]
    return os.path.join(parts, stem)

  return part_of


def _coding(root: str, data: Any) -> Coding:
  if data.classes:
    names = [str(name) for name in data.classes]
    return mask_coding.numbered(names, data.void, "--config.data.classes")
  path = os.path.join(root, _CLASSES)
  if not os.path.isfile(path):
    raise UserError(
      f"{root} has no {_CLASSES}: write the name of each class there, a line"
      " each, in the order of the values of the masks, or give them with"
      " --config.data.classes"
    )
  return mask_coding.from_file(path, data.void)


def _held(pairs: list[Pair], fraction: float, seed: int) -> set[int]:
  """Positions of the images to test on."""
  if not 0 < fraction < 1:
    raise UserError(
      f"--config.data.test_fraction={fraction} leaves a split empty; give a"
      " share between 0 and 1"
    )
  return set(splits_lib.held_out([p.image for p in pairs], fraction, seed))
