"""Hearts of MM-WHS in MR and CT, as SIFA's authors preprocessed them.

  root/train_mr/mr_train_slice0.npy, root/gt_train_mr/mr_train_slice0_gt.npy
  root/test_mr/image_mr_1007.nii.gz.npz

and the same with ct; of the last, "arr_0" is the image and "arr_1" the labels.
`data.domain` chooses. These are the names of the NumPy files that MPSCL, SE-ASA
and TCSA-UDA are trained on. Training slices do not tell which volume they are
of, so that neighbours may be held out to validate on. Test volumes are turned
as SIFA's code turns them. Without `data.window` the intensities are cut off
where that code does. Sides of voxels are not known and taken for 1 mm.
"""

import functools
import os
import re
from typing import Any

from jaxtyping import Integer
import numpy as np

from protojax.data.source import printable
from protojax.datasets import slices, study_files
from protojax.datasets.slices import Slices, Study
from protojax.datasets.volume_file import Volume
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = slices.FIELDS
VOLUMES = ("mr", "ct")

SPLITS = ("train", "test")
CLASS_NAMES = (
  "background",
  "myocardium",
  "left atrium",
  "left ventricle",
  "ascending aorta",
)
# SIFA's data_loader.py.
_WINDOWS = {"mr": (-1.8, 4.4), "ct": (-2.8, 3.2)}
_VALUES = study_files.in_order(CLASS_NAMES, -1)


def load(data: Any, split: str, seed: int) -> Slices:
  """Opens the training slices or the test volumes.

  Args:
    data: `root`, `domain`, `masks` ('': without labels), `axis` and `window`;
      slices are axial.
    split: "train" or "test".
    seed: without effect.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  if slices.axis_of(data) != 2:
    raise UserError(f"--config.data.axis={data.axis}: these slices are axial")
  root = study_files.require_folder(data.root)
  domain = study_files.one_of(VOLUMES, data.domain)
  folder = os.path.join(root, f"{split}_{domain}")
  names = os.listdir(folder) if os.path.isdir(folder) else []
  suffix = ".npy" if split == "train" else ".npz"
  names = sorted((n for n in names if n.endswith(suffix)), key=_number)
  if not names:
    raise UserError(
      f"{folder} holds no {suffix} files: give the folder that holds"
      f" train_{domain} and test_{domain}"
    )
  make = _slice if split == "train" else _volume
  labelled = bool(data.masks)
  found = [make(root, folder, name, domain, labelled) for name in names]
  window = data.window or _WINDOWS[domain]
  return slices.opened(found, CLASS_NAMES, _Chosen(data.axis, tuple(window)))


def holds(root: str, domain: str) -> bool:
  """Whether a folder has the layout, with both splits of a domain."""
  places = (os.path.join(root, f"{split}_{domain}") for split in SPLITS)
  return all(map(os.path.isdir, places))


class _Chosen:
  """The keys that `slices.opened` reads."""

  def __init__(self, axis: str, window: tuple[float, ...]) -> None:
    self.axis, self.window = axis, window


def _number(name: str) -> tuple[int, str]:
  digits = re.findall(r"\d+", name)
  return (int(digits[-1]) if digits else -1), name


def _slice(
  root: str, folder: str, name: str, domain: str, labelled: bool
) -> Study:
  own = f"{name.removesuffix('.npy')}_gt.npy"
  labels = os.path.join(root, f"gt_train_{domain}", own)
  if labelled and not os.path.isfile(labels):
    raise UserError(f"{printable(name)} has no labels {printable(labels)}")
  path = os.path.join(folder, name)
  shape = *_array(path, "", True).shape[:2], 1
  return Study(
    name.removesuffix(".npy"),
    functools.partial(_plane, path),
    functools.partial(_classes, labels, "") if labelled else None,
    shape,
    path,
  )


def _volume(
  root: str, folder: str, name: str, domain: str, labelled: bool
) -> Study:
  del root, domain
  path = os.path.join(folder, name)
  return Study(
    name.split(".")[0],
    functools.partial(_turned, path),
    functools.partial(_classes, path, "arr_1") if labelled else None,
    _array(path, "arr_0").shape,
    path,
  )


def _array(path: str, key: str, mapped: bool = False) -> np.ndarray:
  """An array of a file; nothing in it is executed."""
  try:
    found = np.load(path, "r" if mapped else None, allow_pickle=False)
    return found[key] if key else found
  except (OSError, ValueError, KeyError, EOFError) as error:
    raise UserError(f"{printable(path)} cannot be read: {error}") from error


def _plane(path: str) -> Volume:
  values = _array(path, "")
  # Three equal or neighbouring slices: the middle one is labelled.
  plane = values if values.ndim == 2 else values[..., values.shape[2] // 2]
  return Volume(plane[..., None].astype(np.float32), np.eye(4))


def _turned(path: str) -> Volume:
  values = _array(path, "arr_0")[::-1, ::-1]
  return Volume(values.astype(np.float32), np.eye(4))


def _classes(path: str, key: str) -> Integer[np.ndarray, "x y z"]:
  values = _array(path, key)
  if key:
    values = values[::-1, ::-1]
  elif values.ndim == 2:
    values = values[..., None]
  else:
    middle = values.shape[2] // 2
    values = values[..., middle : middle + 1]
  return study_files.translated(values.astype(np.int32), _VALUES, path)
