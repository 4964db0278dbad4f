"""Stanford Cars: 16,185 cars of 196 models, with boxes.

Krause et al., 3D Object Representations for Fine-Grained Categorization, 2013.
Read from the original files in one folder, packed or unpacked: cars_train.tgz,
cars_test.tgz, car_devkit.tgz and cars_test_annos_withlabels.mat.
"""

from collections.abc import Iterator
import functools
from typing import Any

import numpy as np

from protojax.datasets import matlab, photo_records
from protojax.datasets.archive import Archive
from protojax.datasets.photo_records import Listing, Photo
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
PREPARES = (
  "Stanford Cars: a folder with its archives and lists, unpacked or not"
)
WRITES = "cars"  # cars196 is the name of TFDS's own version
TRAINS = "protopnet_cars196"
PUBLISHED = {"classes": 196, "train": 8_144, "test": 8_041}

_CLASSES = "cars_meta.mat"
# Split -> (its list, the folder of its images).
_SPLITS = {
  "train": ("cars_train_annos.mat", "cars_train"),
  "test": ("cars_test_annos_withlabels.mat", "cars_test"),
}


def read(files: Archive) -> Listing:
  """Lists the cars.

  Raises:
    UserError: a list is missing, or not as expected.
  """
  names = [_CLASSES, *(annotations for annotations, _ in _SPLITS.values())]
  lists = matlab.lists(files, names)
  try:
    class_names = np.atleast_1d(lists[_CLASSES]["class_names"])
    photos = [
      photo
      for split, (name, folder) in _SPLITS.items()
      for photo in _photos(files, lists[name]["annotations"], split, folder)
    ]
    if not all(0 <= photo.label < len(class_names) for photo in photos):
      raise ValueError(f"a class beyond the {len(class_names)} that are named")
  except (ValueError, KeyError, IndexError, TypeError) as e:
    raise UserError(
      f"the lists of {files.title} are not those of Stanford Cars ({e!r})"
    ) from e
  return Listing(
    name=WRITES,
    class_names=tuple(str(name) for name in class_names),
    photos=tuple(photos),
    boxes="bbox",
  )


def _photos(
  files: Archive, annotations: Any, split: str, folder: str
) -> Iterator[Photo]:
  # In some mirrors, the folder lies in another folder of the same name.
  places = {
    tuple(name.split("/")[-2:]): name
    for name in files.names
    if f"/{folder}/" in f"/{name}"
  }
  for row in np.atleast_1d(annotations):
    name = str(row["fname"])
    left, top, right, bottom = (
      int(row[f"bbox_{edge}"]) for edge in ("x1", "y1", "x2", "y2")
    )
    # Matlab counts from one, and the box includes its last pixel.
    box = (left - 1, top - 1, right - left + 1, bottom - top + 1)
    yield Photo(
      path=places.get((folder, name), f"{folder}/{name}"),
      name=f"{folder}/{name}",
      label=int(row["class"]) - 1,
      split=split,
      boxes=(box,),
    )


prepare = functools.partial(photo_records.write, read)
