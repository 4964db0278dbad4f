"""Volumes that a user gives, and the classes of their voxels as NIfTI."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from protojax.data.stream import Stream
from protojax.datasets import slices, study_files, volume_file
from protojax.datasets.slices import Slices
from protojax.datasets.study_files import Pair
from protojax.types import UserError


def opened(config: Any, paths: Sequence[str]) -> Slices | None:
  """The slices of volumes; None if no path is one.

  Args:
    config: of the run, whose `data` says the axis and the window; a window of
      its `target`, the domain that it was trained for, comes first.
    paths: NIfTI files and folders of DICOM series.

  Raises:
    UserError: there are images among them, two volumes of one name, or the run
      takes no volumes.
  """
  known = [volume_file.is_volume(path) for path in paths]
  if not any(known):
    return None
  if not all(known):
    other = paths[known.index(False)]
    raise UserError(
      f"{other} is no volume, and others are: predict volumes and images apart"
    )
  if "axis" not in config.data:
    raise UserError(
      f"the run was trained on images, not on slices of volumes: {paths[0]}"
    )
  names = [volume_file.stem(path) for path in paths]
  if len(set(names)) < len(names):
    twice = next(name for name in names if names.count(name) > 1)
    raise UserError(f"two volumes are called {twice}: predict them apart")
  window = config.get("target", {}).get("window", ()) or config.data.window
  data = ConfigDict({"axis": config.data.axis, "window": tuple(window)})
  studies = [
    study_files.study(Pair(name, path), {})
    for name, path in zip(names, paths, strict=True)
  ]
  return slices.opened(studies, (), data)


class Volumes:
  """Writes each volume when its last slice is there.

  Attributes:
    folder: that the files are written to.
    planes: of the volume that is not whole yet.
  """

  def __init__(self, folder: Path) -> None:
    self.folder = folder
    self.planes: list[np.ndarray] = []

  def add(
    self,
    stream: Stream,
    source: Slices,
    index: int,
    row: Mapping[str, np.ndarray],
  ) -> None:
    """Adds a slice; slices come in the order of their source.

    Args:
      stream: of the slices.
      source: of the stream.
      index: of the slice.
      row: of the method's `predict`.
    """
    shape = source[index]["image"].shape
    frame = stream.resizing.frame(shape, stream.image_size)
    plane = frame.at_own_size(row["classes"], shape, slices.VOID)
    self.planes.append(plane)
    study = source.studies[source.places[index].study]
    if len(self.planes) == study.shape[source.axis]:
      found = slices.stacked(np.stack(self.planes), source.axis)
      path = self.folder / f"{study.name}.nii.gz"
      volume_file.write(path, found, study.path)
      self.planes = []
