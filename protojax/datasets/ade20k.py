"""ADE20K: scenes with 150 classes of pixels, of the 2016 challenge.

Zhou et al. (CVPR 2017). Read from the unpacked ADEChallengeData2016.zip: images
and annotations, each with training and validation, and objectInfo150.txt, at
the root or in ADEChallengeData2016. In its masks 0 is no class.
"""

import os
from typing import Any

from protojax import text_files
from protojax.datasets import mask_coding, masked_files
from protojax.datasets.masked_files import MaskedFiles
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
MASKED = (
  ("ADEChallengeData2016", "objectInfo150.txt"),
  "training",
  "validation",
)
FIELDS = masked_files.FIELDS
PUBLISHED = {"classes": 150, "train": 20_210, "test": 2_000}

_NAMES = "objectInfo150.txt"


def load(data: Any, split: str, seed: int) -> MaskedFiles:
  """Opens a split that a config names: "training" or "validation".

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  root, name = os.path.expanduser(data.root), data[split]
  inner = os.path.join(root, "ADEChallengeData2016")
  home = inner if os.path.isdir(inner) else root
  images, masks = (
    os.path.join("images", name),
    os.path.join("annotations", name),
  )
  if not os.path.isdir(os.path.join(home, images)):
    raise UserError(
      f"{home} has no {images}: unpack ADEChallengeData2016.zip there, and name"
      " training and validation with --config.data.train and --config.data.test"
    )
  pairs = masked_files.paired(home, images, masks)
  return masked_files.opened(home, pairs, _coding(os.path.join(home, _NAMES)))


def _coding(path: str) -> mask_coding.Coding:
  """The classes of the list: the first line names the columns.

  Synonyms are cut off, but where two classes would have one name.
  """
  rows = [line.split("\t") for line in text_files.read(path).splitlines()[1:]]
  whole = [row[-1].strip() for row in rows if len(row) > 1]
  short = [name.split(",")[0].strip() for name in whole]
  names = [
    name if short.count(name) == 1 else long
    for name, long in zip(short, whole, strict=True)
  ]
  return mask_coding.numbered(names, 0, path)
