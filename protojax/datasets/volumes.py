"""Prepares volumes, of any layout that is read, as one plain folder.

The source is a folder with BraTS, CHAOS or BTCV, the NumPy files of MM-WHS, or
one that `volume_folder` reads. Written are NIfTI files, images and labels of
one name, with the spacing and affine that the source has, the axes turned to
right, anterior, superior, and classes.txt. A layout with domains becomes a
folder for each.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from protojax import datasets, finding
from protojax.datasets import study_files, volume_file
from protojax.datasets.array_records import Outcome
from protojax.datasets.slices import VOID, Slices, Study
from protojax.types import UserError
from protojax.writing import replacing

# What is declared of a data set; see `protojax.datasets`.
PREPARES = "volumes, of any layout that is read, as a plain folder of NIfTI"
WRITES = "volume_folder"
TRAINS = "tcsa_uda_folder"

_SPLITS = ("train", "test")


def prepare(
  source: str,
  output: str,
  begin: Callable[[int], Any],
  advance: Callable[[], Any],
) -> Outcome:
  """Writes both splits of each domain.

  Args:
    source: a folder with one of the layouts.
    output: the folder to write to; made if it is not there.
    begin: called with the number of volumes.
    advance: called after each volume.

  Raises:
    UserError: the source is not as expected, or the output holds something.
  """
  home = Path(output)
  if home.exists() and (not home.is_dir() or any(home.iterdir())):
    raise UserError(
      f"{home} holds something already: empty it, or take another --output"
    )
  read = _read(study_files.require_folder(source))
  begin(sum(len(found.studies) for found in read.values()))
  counts: dict[str, int] = {}
  for (domain, split), found in read.items():
    for study in found.studies:
      _write(home / domain / split, study)
      advance()
    counts[f"{domain} {split}".strip()] = len(found.studies)
  names = next(iter(read.values())).class_names
  # Last: without it nothing is taken for whole.
  with replacing(home / "classes.txt") as file:
    file.write("".join(f"{name}\n" for name in names))
  return Outcome(counts, ())


def _read(root: str) -> dict[tuple[str, str], Slices]:
  """Domain and split -> its volumes, of the first layout that fits."""
  known = finding.constants(datasets.__name__, "VOLUMES")
  for name, domains in known.items():
    holds = datasets.find(name).holds
    there = [d for d in domains if holds(root, d)]
    if there:
      return {
        (domain, split): _opened(name, root, domain, split)
        for domain in there
        for split in _SPLITS
      }
  return {("", split): _opened(WRITES, root, "", split) for split in _SPLITS}


def _opened(name: str, root: str, domain: str, split: str) -> Slices:
  config = {"name": name, "root": root, "domain": domain, "masks": "labels"}
  config |= {"train": "train", "test": "test", "classes": (), "void": VOID}
  config |= {"test_fraction": 0.2, "axis": "axial", "window": ()}
  return datasets.find(name).load(ConfigDict(config), split, 0)


def _write(folder: Path, study: Study) -> None:
  """The volume and its labels."""
  nibabel = volume_file.package("nibabel")
  volume, file = study.read(), f"{study.name}.nii.gz"
  image = nibabel.Nifti1Image(volume.values, volume.affine)
  volume_file.save(folder / "images" / file, image)
  if study.read_classes is None:
    return
  classes = study.read_classes().astype(np.uint8)
  volume_file.save(
    folder / "labels" / file, nibabel.Nifti1Image(classes, volume.affine)
  )
