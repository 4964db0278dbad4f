"""Abdomens in MR and CT: CHAOS and BTCV, with four organs in common.

  root/Train_Sets/MR/1/T2SPIR/DICOM_anon/*.dcm, root/.../T2SPIR/Ground/*.png
  root/RawData/Training/img/img0001.nii.gz, root/.../label/label0001.nii.gz

The first is CHAOS (Kavur et al., 2021), `data.domain=mr`: slices as DICOM, and
a PNG of the classes for each, in the order of the files' names. The second is
BTCV (Landman et al., 2015), `data.domain=ct`. A seed divides the volumes.
"""

from collections.abc import Mapping
import functools
import os
from typing import Any

from jaxtyping import Int, Integer
import numpy as np
from PIL import Image

from protojax.data import images as images_lib
from protojax.datasets import slices, study_files, volume_file
from protojax.datasets.slices import Slices, Study
from protojax.datasets.study_files import Pair
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = slices.FIELDS
VOLUMES = ("mr", "ct")

CLASS_NAMES = ("background", "liver", "right kidney", "left kidney", "spleen")
# Grey value of CHAOS's PNGs -> class.
_CHAOS = {0: 0, 63: 1, 126: 2, 189: 3, 252: 4}
# Number of BTCV's thirteen organs -> class.
_BTCV = {**dict.fromkeys(range(14), 0), 6: 1, 2: 2, 3: 3, 1: 4}
_MR, _SERIES = "Train_Sets/MR", "T2SPIR"
_CT = "RawData/Training"


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
  read = _chaos if domain == "mr" else _btcv
  return slices.divided(
    read(root, bool(data.masks)), CLASS_NAMES, data, split, seed
  )


def holds(root: str, domain: str) -> bool:
  """Whether a folder has the layout, with volumes of a domain."""
  return os.path.isdir(os.path.join(root, _MR if domain == "mr" else _CT))


def _btcv(root: str, labelled: bool) -> list[Study]:
  images = study_files.found(os.path.join(root, _CT, "img"))
  if not images:
    raise UserError(f"{root} has no volumes in {_CT}/img, as BTCV has them")
  pairs = []
  for name, path in images.items():
    own = f"label{name.removeprefix('img')}.nii.gz"
    labels = os.path.join(root, _CT, "label", own)
    pairs.append(Pair(name, path, labels if labelled else ""))
  return study_files.checked(root, pairs, _BTCV)


def _chaos(root: str, labelled: bool) -> list[Study]:
  top = os.path.join(root, _MR)
  names = sorted(os.listdir(top)) if os.path.isdir(top) else []
  found = []
  for name in names:
    series = os.path.join(top, name, _SERIES, "DICOM_anon")
    if not os.path.isdir(series) or not volume_file.is_volume(series):
      continue
    pair = Pair(f"mr-{name}", series)
    study = study_files.study(pair, _CHAOS)
    read = None
    if labelled:
      ground = os.path.join(top, name, _SERIES, "Ground")
      read = functools.partial(_ground, ground, series, _CHAOS)
      read()  # What is wrong is said before anything is trained.
    found.append(Study(pair.name, study.read, read, study.shape, study.path))
  if not found:
    raise UserError(
      f"{root} has no series in {_MR}/NUMBER/{_SERIES}/DICOM_anon, as CHAOS has"
      " them"
    )
  return found


def _ground(
  folder: str, series: str, classes: Mapping[int, int]
) -> Integer[np.ndarray, "x y z"]:
  """The PNGs of a series as classes of its voxels."""
  names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
  paths = [os.path.join(folder, n) for n in names if n.endswith(".png")]
  planes = [_plane(path) for path in paths]
  space = volume_file.space(series)
  shapes = {plane.shape for plane in planes}
  if len(planes) != space.shape[2] or shapes != {space.shape[1::-1]}:
    raise UserError(
      f"{folder} has {len(planes)} PNGs of {', '.join(map(str, shapes))} pixels"
      f" for {space.shape[2]} slices of {space.shape[1::-1]}"
    )
  stored = volume_file.of_series(np.stack(planes), series)
  return study_files.translated(stored, classes, folder)


def _plane(path: str) -> Int[np.ndarray, "H W"]:
  with images_lib.opened(path) as image:
    picture: Image.Image = image.convert("L")
    return np.asarray(picture).astype(np.int32)
