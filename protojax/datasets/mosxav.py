"""MOSXAV: X-ray angiography videos, every fifth training frame with a mask.

Xi et al. (2025), 512 x 512 pixels, as its README says (github.com/xilin-x/
MOSXAV; CC BY-NC-SA 4.0):

  trainval/JPEGImages/v00/00000.jpg, trainval/Annotations_Semantic/v00/00000.png
  trainval/ImageSets/train.txt and val.txt, a sequence on each line
  test/ likewise, with test.txt

Splits are by sequence. The value 5, "others", occurs in the test set alone: no
model can learn it, and its pixels are taken as void.
"""

import os
from typing import Any

from protojax import text_files
from protojax.datasets import masked_files, masked_frames
from protojax.datasets.mask_coding import Coding
from protojax.datasets.masked_frames import Frames
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = masked_frames.FIELDS

_CLASSES = "background", "vessel", "contrast catheter", "catheter", "balloon"
_CODING = Coding(_CLASSES, tuple(range(len(_CLASSES))), void=(5, 255))
_PLACES = {"train": "trainval", "val": "trainval", "test": "test"}


def load(data: Any, split: str, seed: int) -> Frames:
  """Opens the sequences of a list: train, val or test.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  root, name = os.path.expanduser(data.root), data[split]
  if name not in _PLACES:
    raise UserError(
      f"--config.data.{split}={name!r}: MOSXAV has the lists"
      f" {', '.join(_PLACES)}"
    )
  part = _PLACES[name]
  path = os.path.join(root, part, "ImageSets", f"{name}.txt")
  if not os.path.isfile(path):
    raise UserError(
      f"there is no {path}: set --config.data.root to the folder of MOSXAV that"
      " holds trainval and test"
    )
  lines = text_files.read(path).splitlines()
  wanted = list(dict.fromkeys(x.split()[0] for x in lines if x.strip()))
  pairs, sequences = [], []
  for sequence in wanted:
    own = masked_files.paired(
      root,
      f"{part}/JPEGImages/{sequence}",
      f"{part}/Annotations_Semantic/{sequence}",
    )
    if not own:
      raise UserError(
        f"{path} names the sequence {sequence!r}, of which"
        f" {part}/JPEGImages/{sequence} has no frame"
      )
    pairs += sorted(own)
    sequences += [sequence] * len(own)
  return masked_frames.opened(root, pairs, sequences, _CODING)
