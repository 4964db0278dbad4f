"""BraTS 2020: brains with tumours in four kinds of MR (Menze et al., 2015).

  root/BraTS20_Training_001/BraTS20_Training_001_flair.nii.gz, ..._t2.nii.gz,
  ..._t1.nii.gz, ..._t1ce.nii.gz, ..._seg.nii.gz

`data.domain` is the kind of MR. All parts of a tumour are one class, as in
adaptation from FLAIR to T2. A seed divides the volumes.
"""

import os
from typing import Any

from protojax.datasets import slices, study_files
from protojax.datasets.slices import Slices
from protojax.datasets.study_files import Pair
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = slices.FIELDS
VOLUMES = ("flair", "t1", "t1ce", "t2")

CLASS_NAMES = ("background", "tumour")
# Necrosis, oedema, and what takes up contrast.
_VALUES = {0: 0, 1: 1, 2: 1, 3: 1, 4: 1}
_ENDINGS = (".nii.gz", ".nii")


def load(data: Any, split: str, seed: int) -> Slices:
  """Opens the training or test split.

  Args:
    data: `root`, `domain`, `masks` ('': without labels), `test_fraction`,
      `axis` and `window`.
    split: "train" or "test".
    seed: divides the volumes.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  slices.axis_of(data)
  root = study_files.require_folder(data.root)
  domain = study_files.one_of(VOLUMES, data.domain)
  pairs = []
  for name in sorted(os.listdir(root)):
    image = _file(root, name, domain)
    if image:
      labels = _file(root, name, "seg") or os.path.join(
        root, name, f"{name}_seg.nii.gz"
      )
      pairs.append(Pair(name, image, labels if data.masks else ""))
  if not pairs:
    raise UserError(
      f"{root} holds no folder NAME with NAME_{domain}.nii.gz: give the folder"
      " of BraTS that holds those of the patients"
    )
  found = study_files.checked(root, pairs, _VALUES)
  return slices.divided(found, CLASS_NAMES, data, split, seed)


def holds(root: str, domain: str) -> bool:
  """Whether a folder has the layout, with volumes of a domain."""
  return any(_file(root, name, domain) for name in os.listdir(root))


def _file(root: str, name: str, kind: str) -> str:
  paths = (os.path.join(root, name, f"{name}_{kind}{e}") for e in _ENDINGS)
  return next(filter(os.path.isfile, paths), "")
