"""Small volumes in files, of a shape whose every voxel is told from others."""

from pathlib import Path

from ml_collections import ConfigDict
import numpy as np

from protojax.datasets import volume_folder

SHAPE = (6, 8, 5)
# The axes go left, back, up, as those of many scanners, in mm.
AFFINE = np.array(
  [[-2.0, 0, 0, 30], [0, -1.5, 0, 40], [0, 0, 3, -20], [0, 0, 0, 1]]
)


def values(seed=0, shape=SHAPE):
  """Whole numbers, none twice."""
  order = np.random.default_rng(seed).permutation(int(np.prod(shape)))
  return order.reshape(shape).astype(np.int16)


def labels(shape=SHAPE, classes=3):
  return (np.indices(shape).sum(0) % classes).astype(np.uint8)


def write(path, array, affine=AFFINE):
  """A NIfTI file."""
  import nibabel

  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  nibabel.save(nibabel.Nifti1Image(array, affine), path)
  return str(path)


def folder(root, names=("a", "b", "c"), shape=SHAPE, where=""):
  """A plain folder: images, labels and classes.txt."""
  for seed, name in enumerate(names):
    write(root / where / "images" / f"{name}.nii.gz", values(seed, shape))
    write(root / where / "labels" / f"{name}.nii.gz", labels(shape))
  (root / "classes.txt").write_text("outside\nheart\nliver\n")
  return str(root)


def series(root, array, step=3.0, left_out=(), flipped=False):
  """A DICOM series of the planes [n H W] of an array, above one another."""
  import pydicom
  from pydicom.dataset import FileDataset, FileMetaDataset
  from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

  root = Path(root)
  root.mkdir(parents=True, exist_ok=True)
  one = generate_uid()
  for n, plane in enumerate(array):
    if n in left_out:
      continue
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID = CTImageStorage
    found.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    found.SeriesInstanceUID = one
    found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    found.ImagePositionPatient = [-10.0, -20.0, 5.0 + n * step]
    found.PixelSpacing = [1.5, 2.0]
    found.SliceThickness = step
    found.Rows, found.Columns = plane.shape
    found.BitsAllocated = found.BitsStored = 16
    found.HighBit, found.PixelRepresentation = 15, 1
    found.SamplesPerPixel = 1
    found.PhotometricInterpretation = "MONOCHROME2"
    found.RescaleSlope, found.RescaleIntercept = 2, -1000
    found.PixelData = plane.astype(np.int16).tobytes()
    number = len(array) - n if flipped else n
    pydicom.dcmwrite(
      root / f"slice{number:03d}.dcm", found, enforce_file_format=True
    )
  return str(root)


def config(root, **changes):
  found = {
    "name": "volume_folder",
    "root": str(root),
    "domain": "",
    "train": "train",
    "test": "test",
    "masks": "labels",
    "classes": (),
    "void": 255,
    "test_fraction": 0.4,
    "validation_fraction": 0.0,
    "split_seed": -1,
    "crop": False,
    "axis": "axial",
    "window": (),
  }
  return ConfigDict({**found, **changes})


def opened(root, split="train", **changes):
  return volume_folder.load(config(root, **changes), split, 0)
