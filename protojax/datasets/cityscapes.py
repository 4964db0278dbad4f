"""Cityscapes: street scenes with 19 classes of pixels, as two squares each.

Cordts et al. (CVPR 2016). Read from the unpacked archives: a folder with
leftImg8bit and gtFine. A frame of 2048 x 1024 pixels is two examples, its left
and its right half, so that squares lose neither pixels nor aspect; splits keep
both together. Of the 34 labels the 19 that are evaluated are classes.
"""

from collections.abc import Mapping
import dataclasses
import os
from typing import Any, ClassVar

from jaxtyping import Int
import numpy as np

from protojax.data.fields import Field
from protojax.datasets import files, masked_files
from protojax.datasets.mask_coding import Coding
from protojax.datasets.masked_files import MaskedFiles, Pair
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
MASKED = (("leftImg8bit",), "train", "val")
FIELDS = masked_files.FIELDS
PUBLISHED = {"classes": 19, "train": 2 * 2_975, "test": 2 * 500}

# Class -> its label in the masks, as in the authors' scripts.
_CLASSES = {
  **{"road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13},
  **{"pole": 17, "traffic light": 19, "traffic sign": 20, "vegetation": 21},
  **{"terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26},
  **{"truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33},
}
_CODING = Coding(tuple(_CLASSES), tuple(_CLASSES.values()), void=None)
_IMAGES, _MASKS = "leftImg8bit", "gtFine"
_PARTS = "gtFinePanopticParts"
_IMAGE, _MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
  """The left and the right half of each image of a source.

  Attributes:
    whole: the source.
  """

  whole: MaskedFiles
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return 2 * len(self.whole)

  def __getitem__(self, i: int) -> dict:
    example = self.whole[i // 2]
    return {
      "image": _half(example["image"], i),
      "mask": _half(example["mask"], i),
      "name": self.name(i),
    }

  def part_plane(self, i: int) -> Int[np.ndarray, "H W"] | None:
    """The part of each pixel, 0 for none; None if there is no such mask."""
    whole = self.whole.part_plane(i // 2)
    return None if whole is None else _half(whole, i)

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes; index = value of a pixel of a mask."""
    return self.whole.class_names

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """As in the whole source."""
    return self.whole.skipped

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: an image is of no single class."""
    return np.full(len(self), -1, np.int32)

  @property
  def groups(self) -> Int[np.ndarray, " n"]:
    """The frame that each half is of."""
    return np.arange(len(self), dtype=np.int32) // 2

  def name(self, i: int) -> str:
    """The path of the frame, and which half."""
    return f"{self.whole.name(i // 2)} {'right' if i % 2 else 'left'}"


def _half(plane: np.ndarray, i: int) -> np.ndarray:
  middle = plane.shape[1] // 2
  return plane[:, middle:] if i % 2 else plane[:, :middle]


def load(data: Any, split: str, seed: int) -> Halves:
  """Opens a split that a config names: "train" or "val".

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  root, name = os.path.expanduser(data.root), data[split]
  images = os.path.join(_IMAGES, name)
  if not os.path.isdir(os.path.join(root, images)):
    raise UserError(
      f"{root} has no {images}: unpack leftImg8bit_trainvaltest.zip and"
      " gtFine_trainvaltest.zip there, and name train and val with"
      " --config.data.train and --config.data.test"
    )
  found, _ = files.below(os.path.join(root, images))
  pairs = [
    Pair(name, name.replace(_IMAGES, _MASKS, 1).replace(_IMAGE, _MASK))
    for name in (os.path.relpath(path, root) for path in found)
    if name.endswith(_IMAGE)
  ]
  return Halves(masked_files.opened(root, pairs, _CODING, _parts))


def _parts(pair: Pair) -> str:
  """Where Cityscapes-Panoptic-Parts lies, if it was unpacked, too."""
  path = pair.mask.replace(_MASKS, _PARTS, 1)
  return path.removesuffix(_MASK) + f"_{_PARTS}"
