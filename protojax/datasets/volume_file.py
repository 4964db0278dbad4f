"""Reads and writes one volume: NIfTI files and series of DICOM slices.

What is read is turned to the axes right, anterior, superior (RAS+), as near as
it goes without resampling; the affine goes with it. What is written has the
axes and the affine of the file that it belongs to. Needs nibabel, and pydicom
for series (the `medical` extra).
"""

from collections.abc import Sequence
import dataclasses
import importlib
import os
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int, Integer, Shaped
import numpy as np

from protojax.data.source import printable
from protojax.types import UserError
from protojax.writing import replacing

SUFFIXES = (".nii", ".nii.gz")
AXES = ("sagittal", "coronal", "axial")

# Of places of slices of a series, in shares of their distance.
_EVEN = 0.05
# Of affines of an image and its labels, in millimetres.
_NEAR = 1e-2


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
  """Numbers in space.

  Attributes:
    values: the axes go to the right, to the front and up.
    affine: voxel -> millimetres in these directions.
  """

  values: Shaped[np.ndarray, "x y z"]
  affine: Float[np.ndarray, "4 4"]

  @property
  def spacing(self) -> tuple[float, float, float]:
    """Sides of a voxel in millimetres."""
    x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


@dataclasses.dataclass(frozen=True)
class Space:
  """Where the voxels of a file lie, as the file says it.

  Attributes:
    shape: voxels on each axis.
    codes: where the axes go, such as "LPS".
    affine: voxel -> millimetres.
  """

  shape: tuple[int, ...]
  codes: str
  affine: tuple[tuple[float, ...], ...]

  def unlike(self, other: "Space") -> str:
    """What differs from another file's, in words; '' if nothing does."""
    for what, a, b in (
      ("voxels", self.shape, other.shape),
      ("axes", self.codes, other.codes),
    ):
      if a != b:
        return f"its {what} are {_words(a)}, expected {_words(b)}"
    far = np.abs(np.array(self.affine) - np.array(other.affine)).max()
    if far > _NEAR:
      return f"its affine differs by {far:.3g} from"
    return ""


def stem(path: str) -> str:
  """The name of a volume: of its file without endings, or of its folder."""
  name = os.path.basename(os.path.normpath(path))
  for suffix in reversed(SUFFIXES):
    if name.lower().endswith(suffix):
      return name[: -len(suffix)]
  return name


def is_volume(path: str) -> bool:
  """Whether a path is a NIfTI file by its name, or a folder of a series."""
  if os.path.isdir(path):
    return bool(_slices(path))
  return path.lower().endswith(SUFFIXES)


def read(path: str) -> Volume:
  """The volume of a file, or of the folder of a series.

  Raises:
    UserError: a package is missing; or it cannot be read, is no volume of
      three axes, has numbers that are not finite, or lacks a slice.
  """
  image, _ = _turned(path)
  values = np.asarray(image.dataobj)
  if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
    raise UserError(f"{printable(path)} has values that are not finite")
  return Volume(values, np.asarray(image.affine, np.float64))


def read_classes(path: str) -> Integer[np.ndarray, "x y z"]:
  """The labels of a file as whole numbers, with the axes of `read`.

  Raises:
    UserError: see `read`; or a value is not a whole number.
  """
  values = read(path).values
  whole = np.rint(values).astype(np.int32)
  if np.any(whole != values):
    wrong = float(values[whole != values].flat[0])
    raise UserError(
      f"{printable(path)} has the label {wrong:g}, which is no whole number:"
      " masks are saved without interpolation"
    )
  return whole


def space(path: str) -> Space:
  """Where the voxels of a file lie; of NIfTI, reads its header alone.

  Raises:
    UserError: see `read`.
  """
  nibabel = package("nibabel")
  image = _opened(path)
  return Space(
    tuple(int(n) for n in image.shape),
    "".join(nibabel.aff2axcodes(image.affine)),
    tuple(map(tuple, np.asarray(image.affine, float).tolist())),
  )


def of_series(
  planes: Shaped[np.ndarray, "n H W"], folder: str
) -> Shaped[np.ndarray, "x y z"]:
  """Planes of a DICOM series as a volume with the axes of `read`.

  Args:
    planes: one for each file, in the order of the files' names.
    folder: of the series.
  """
  nibabel = package("nibabel")
  _, order = _ordered(folder)
  own = np.moveaxis(planes[order], 0, -1).swapaxes(0, 1)
  forth = nibabel.orientations.io_orientation(_opened(folder).affine)
  return nibabel.orientations.apply_orientation(own, forth)


def write(path: Path, classes: Integer[np.ndarray, "x y z"], like: str) -> None:
  """Writes classes of voxels as NIfTI, where the voxels of a file lie.

  Args:
    path: to write to.
    classes: with the axes of `read`.
    like: the file, or folder of a series, that they belong to.

  Raises:
    UserError: there is no room, or the file cannot be read any more.
  """
  nibabel = package("nibabel")
  _, back = _turned(like)
  own = _opened(like)
  kind = np.uint8 if classes.max(initial=0) < 256 else np.int16
  plain = nibabel.orientations.apply_orientation(classes.astype(kind), back)
  image = nibabel.Nifti1Image(plain, own.affine)
  header = getattr(own, "header", None)
  if isinstance(header, nibabel.Nifti1Header):
    image.set_sform(own.affine, int(header["sform_code"]) or 1)
    image.set_qform(own.affine, int(header["qform_code"]))
    image.header.set_xyzt_units(*header.get_xyzt_units())
  save(path, image)


def save(path: Path, image: Any) -> None:
  """Writes an image of nibabel, whole or not at all."""
  raw = image.to_bytes()
  if str(path).endswith(".gz"):
    gzip = importlib.import_module("gzip")
    # Without a time in it, the same volume is the same file.
    raw = gzip.compress(raw, mtime=0)
  with replacing(path, "wb") as file:
    file.write(raw)


def package(name: str) -> Any:
  """A package of the extra, imported.

  Raises:
    UserError: it is not installed.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise UserError(
      f"volumes need {name}: python -m pip install 'protojax[medical]'"
    ) from error


def _turned(path: str) -> tuple[Any, Any]:
  """The image with the axes of `Volume`, and what turns these back."""
  orientations = package("nibabel").orientations
  image = _opened(path)
  if len(image.shape) != 3:
    raise UserError(
      f"{printable(path)} has {_words(image.shape)} values; expected a volume"
      " of three axes"
    )
  own = orientations.io_orientation(image.affine)
  right = orientations.axcodes2ornt("RAS")
  try:
    turned = image.as_reoriented(orientations.ornt_transform(own, right))
    np.asarray(turned.dataobj[:1, :1, :1])
  except (OSError, EOFError, ValueError) as error:
    raise UserError(f"{printable(path)} cannot be read: {error}") from error
  return turned, orientations.ornt_transform(right, own)


def _opened(path: str) -> Any:
  """An image of nibabel, its numbers not read yet if it is a file."""
  nibabel = package("nibabel")
  if os.path.isdir(path):
    return _series(path)
  try:
    image = nibabel.load(path)
  except FileNotFoundError as error:
    raise UserError(f"there is no volume {printable(path)}") from error
  except (OSError, EOFError, ValueError, _no_image(nibabel)) as error:
    raise UserError(f"{printable(path)} is no NIfTI file: {error}") from error
  return image


def _no_image(nibabel: Any) -> type[Exception]:
  return nibabel.filebasedimages.ImageFileError


def _slices(folder: str) -> list[str]:
  names = sorted(os.listdir(folder))
  paths = (os.path.join(folder, n) for n in names if not n.startswith("."))
  return [path for path in paths if _is_dicom(path)]


def _is_dicom(path: str) -> bool:
  if not os.path.isfile(path):
    return False
  with open(path, "rb") as file:
    return file.read(132)[128:] == b"DICM"


def _ordered(folder: str) -> tuple[list[Any], Int[np.ndarray, " n"]]:
  """The slices of a series by their place, and the number of each file.

  Raises:
    UserError: there is none, or there are several series.
  """
  pydicom = package("pydicom")
  files = [pydicom.dcmread(path) for path in _slices(folder)]
  if not files:
    raise UserError(f"{printable(folder)} holds no DICOM file")
  series = {str(file.SeriesInstanceUID) for file in files}
  if len(series) > 1:
    raise UserError(
      f"{printable(folder)} holds {len(series)} DICOM series: leave one in it"
    )
  turn = np.array(files[0].ImageOrientationPatient, float).reshape(2, 3)
  places = np.array([f.ImagePositionPatient for f in files], float)
  order = np.argsort(places @ np.cross(turn[0], turn[1]), kind="stable")
  return [files[i] for i in order], order


def _series(folder: str) -> Any:
  """The slices of a series as one image."""
  nibabel = package("nibabel")
  files, _ = _ordered(folder)
  first = files[0]
  turn = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
  normal = np.cross(turn[0], turn[1])
  places = np.array([f.ImagePositionPatient for f in files], float)
  step = _step(folder, places @ normal, first)
  rows, columns = map(float, first.PixelSpacing)
  affine = np.eye(4)
  affine[:3, :3] = np.stack(
    [turn[0] * columns, turn[1] * rows, normal * step], axis=1
  )
  affine[:3, 3] = places[0]
  # DICOM's first two directions go to the left and to the back.
  affine = np.diag([-1.0, -1, 1, 1]) @ affine
  planes = [
    file.pixel_array * float(getattr(file, "RescaleSlope", 1))
    + float(getattr(file, "RescaleIntercept", 0))
    for file in files
  ]
  shapes = {plane.shape for plane in planes}
  if len(shapes) > 1:
    raise UserError(f"slices of {printable(folder)} have several sizes")
  values = np.stack(planes, axis=-1).astype(np.float32).swapaxes(0, 1)
  return nibabel.Nifti1Image(values, affine)


def _step(folder: str, along: Float[np.ndarray, " n"], first: Any) -> float:
  """Millimetres from slice to slice.

  Raises:
    UserError: a slice is missing, or is there twice.
  """
  if len(along) == 1:
    return float(getattr(first, "SliceThickness", 0) or 1)
  steps = np.diff(along)
  step = float(np.median(steps))
  wrong = np.flatnonzero(np.abs(steps - step) > _EVEN * step)
  if step <= 0 or len(wrong):
    at = int(wrong[0]) if len(wrong) else 0
    raise UserError(
      f"{printable(folder)} lacks a slice, or has one twice: after slice"
      f" {at + 1} of {len(along)} the next is {steps[at]:g} mm away, and"
      f" {step:g} mm elsewhere; copy the whole series"
    )
  return step


def _words(values: Sequence[Any] | str) -> str:
  if isinstance(values, str):
    return values
  return " x ".join(map(str, values))
