"""A plain folder of volumes with labels of the same name.

  root/classes.txt                             a line for each class
  root/train/images/a.nii.gz, root/train/labels/a.nii.gz
  root/images/train/a.nii.gz, root/labels/train/a.nii.gz
  root/images/a.nii.gz, root/labels/a.nii.gz   a seed divides the volumes

The first of these layouts that is there is read. With `data.domain=mr` all of
it lies in root/mr; classes.txt may lie in root. Values of labels are the
classes in their order. In place of a file, an image may be the folder of a
DICOM series. Of a single volume, blocks of slices are the splits.
"""

import os
from typing import Any

from protojax import ranges, text_files
from protojax.datasets import mask_coding, slices, study_files
from protojax.datasets.slices import Slices
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = slices.FIELDS

CLASSES = "classes.txt"
_IMAGES = "images"


def load(data: Any, split: str, seed: int) -> Slices:
  """Opens the training or test split of `data.root`.

  Args:
    data: `root`, `domain`, `train` and `test` (names of the splits), `masks`
      (of the folders of labels; '': without labels), `classes`, `void`,
      `test_fraction`, `axis` and `window`.
    split: "train" or "test".
    seed: divides the volumes, if nothing else does.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  ranges.whole(-1, 65_535).require("data.void", data.void)
  slices.axis_of(data)
  top = study_files.require_folder(data.root)
  root = os.path.join(top, data.domain)
  if not os.path.isdir(root):
    raise UserError(
      f"--config.data.domain={data.domain!r}: {top} has no such folder"
    )
  names = _classes(top, root, data)
  values = study_files.in_order(names, data.void)
  name, labels = data[split], data.masks
  for images, own in (
    (f"{name}/{_IMAGES}", f"{name}/{labels}"),
    (f"{_IMAGES}/{name}", f"{labels}/{name}"),
  ):
    if os.path.isdir(os.path.join(root, images)):
      pairs = _paired(root, images, own if labels else "")
      return slices.opened(
        study_files.checked(root, pairs, values), names, data
      )
  pairs = _paired(root, _IMAGES, labels)
  if not pairs:
    raise UserError(
      f"{root} has no volumes in {name}/{_IMAGES}, {_IMAGES}/{name} or"
      f" {_IMAGES}: put NIfTI files or folders of DICOM series there, or name"
      " the splits with --config.data.train and --config.data.test"
    )
  found = study_files.checked(root, pairs, values)
  return slices.divided(found, names, data, split, seed)


def _paired(root: str, images: str, labels: str) -> list[study_files.Pair]:
  own = os.path.join(root, labels) if labels else ""
  return study_files.paired(os.path.join(root, images), own)


def _classes(top: str, root: str, data: Any) -> tuple[str, ...]:
  if data.classes:
    names, where = map(str, data.classes), "--config.data.classes"
  else:
    paths = (os.path.join(folder, CLASSES) for folder in (root, top))
    where = next(filter(os.path.isfile, paths), "")
    if not where:
      raise UserError(
        f"{root} has no {CLASSES}: write the name of each class there, a line"
        " each, in the order of the values of the labels, or give them with"
        " --config.data.classes"
      )
    names = (line.strip() for line in text_files.read(where).splitlines())
  found = tuple(filter(None, names))
  mask_coding.require_names(found, where)
  return found
