"""NUS-WIDE: photographs of the web with 81 concepts as labels.

Chua et al. (2009). Read from the original files below one folder:
ImageList/TrainImagelist.txt, Groundtruth/TrainTestLabels/Labels_*_Train.txt,
the same of Test, and the images in Flickr/. Images that are gone from the web,
and not in Flickr/, are named and left out.
"""

import os
from pathlib import Path
from typing import Any

from protojax import text_files
from protojax.datasets import tagged_files
from protojax.datasets.tagged_files import Tagged, TaggedFiles
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
SEVERAL = True
PUBLISHED = {"classes": 81, "train": 161_789, "test": 107_859}

_SPLITS = {"train": "Train", "test": "Test"}


def load(data: Any, split: str, seed: int) -> TaggedFiles:
  """Opens the split "train" or "test".

  Raises:
    UserError: a file is missing, or not as expected.
  """
  del seed
  root = os.path.expanduser(data.root)
  name = tagged_files.split_of(data, split, _SPLITS)
  images = os.path.join(root, "ImageList", f"{name}Imagelist.txt")
  listed = text_files.read(images).split("\n")
  files = [line.strip().replace("\\", "/") for line in listed if line.strip()]
  folder = Path(root, "Groundtruth", "TrainTestLabels")
  paths = sorted(folder.glob(f"Labels_*_{name}.txt"))
  if not paths:
    raise UserError(
      f"{folder} has no Labels_*_{name}.txt: unpack Groundtruth.zip there"
    )
  columns = [_column(path, len(files)) for path in paths]
  rows = [
    Tagged(f"Flickr/{file}", tags)
    for file, tags in zip(files, zip(*columns, strict=True), strict=True)
  ]
  labels = [
    path.stem.removeprefix("Labels_").removesuffix(f"_{name}") for path in paths
  ]
  return tagged_files.opened(root, rows, labels)


def _column(path: Path, count: int) -> list[int]:
  """Whether each image has a label."""
  found = text_files.read(path).split()
  if len(found) != count or not set(found) <= {"0", "1"}:
    raise UserError(
      f"{path} has {len(found):,} numbers, such as {', '.join(found[:3])};"
      f" expected 0 or 1 for each of {count:,} images"
    )
  return [int(x) for x in found]
