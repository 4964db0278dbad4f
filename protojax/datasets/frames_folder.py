"""A folder of video frames, some of which have masks, such as EndoScapes2023.

  root/classes.txt                               a line for each class
  root/train/images/v01/0.jpg, root/train/masks/v01/0.png
  root/test/images/v02/0.jpg, root/test/masks/v02/0.png

Below "images" a folder is a sequence. Without such folders it is what stands in
a name before its first "_", as in EndoScapes' 1_14050.jpg. Frames of the test
split without a mask are left out. Masks are as in `mask_folder`.
"""

import os
from typing import Any

from protojax import ranges
from protojax.datasets import mask_coding, masked_files, masked_frames
from protojax.datasets.masked_files import Pair
from protojax.datasets.masked_frames import Frames
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = masked_frames.FIELDS

_CLASSES = "classes.txt"


def load(data: Any, split: str, seed: int) -> Frames:
  """Opens the training or test split of `data.root`.

  Args:
    data: `root`, `train` and `test` (folders of the splits), `masks` (of the
      folders of masks), `classes` and `void`.
    split: "train" or "test".
    seed: not used.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  ranges.whole(-1, 65_535).require("data.void", data.void)
  root, name = os.path.expanduser(data.root), data[split]
  images, masks = f"{name}/images", f"{name}/{data.masks}"
  path = os.path.join(root, _CLASSES)
  if not os.path.isdir(os.path.join(root, images)):
    raise UserError(
      f"--config.data.root={data.root} has no folder {images}: name the folders"
      " of the splits with --config.data.train and --config.data.test"
    )
  if data.classes:
    names = [str(name) for name in data.classes]
    coding = mask_coding.numbered(names, data.void, "--config.data.classes")
  elif os.path.isfile(path):
    coding = mask_coding.from_file(path, data.void)
  else:
    raise UserError(
      f"{root} has no {_CLASSES}: write the name of each class there, a line"
      " each, in the order of the values of the masks, or give them with"
      " --config.data.classes"
    )
  pairs = sorted(masked_files.paired(root, images, masks))
  if split == "test":
    pairs = [p for p in pairs if os.path.isfile(os.path.join(root, p.mask))]
  found = [_sequence(pair, images) for pair in pairs]
  return masked_frames.opened(root, pairs, found, coding)


def _sequence(pair: Pair, images: str) -> str:
  """Name of the sequence of a frame."""
  folder, file = os.path.split(os.path.relpath(pair.image, images))
  return folder or file.partition("_")[0]
