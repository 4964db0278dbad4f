"""Reads bags from files: *.npz of NumPy, and *.h5 of HDF5 (extra `bags`).

A file holds "features" [n c] and may hold "coords" [n 2] (x, y), "labels" [n]
(1 positive, 0 not, -1 unknown; for evaluation alone) and "tiles" [n H W 3]
uint8. Nothing in a file is executed. Files of CLAM have these names.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import importlib
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
import numpy as np

from protojax.datasets import array_file
from protojax.types import UserError

SUFFIXES = (".npz", ".h5", ".hdf5")
_FEATURES = "features"
_NAMES = (_FEATURES, "coords", "labels")
_INSTALL = "python -m pip install 'protojax[bags]'"


class Files:
  """Reads the bags of files; see `bag_source.Reader`.

  Attributes:
    paths: of the files.
    sizes: instances of each.
    placed: whether all have coordinates.
    channels: width of the vectors.
  """

  def __init__(self, root: Path, paths: Sequence[Path]) -> None:
    """Reads the shapes of all files.

    Raises:
      UserError: a file cannot be read, lacks vectors, or has vectors of
        another width than the first one.
    """
    self.root, self.paths = root, tuple(paths)
    found = [shapes(path) for path in self.paths]
    self.sizes = np.array([shape[_FEATURES][0] for shape in found], int)
    self.channels = found[0][_FEATURES][1]
    for path, shape in zip(self.paths, found, strict=True):
      if shape[_FEATURES][1] != self.channels:
        raise UserError(
          f"{path} has vectors of {shape[_FEATURES][1]} numbers, and"
          f" {self.paths[0]} of {self.channels}; all bags need the same"
          " features"
        )
    self.placed = all("coords" in shape for shape in found)

  def name(self, i: int) -> str:
    """Path of a bag below the root."""
    path = self.paths[i]
    if path.is_relative_to(self.root):
      path = path.relative_to(self.root)
    return str(path.with_suffix(""))

  def read(self, i: int) -> Mapping[str, np.ndarray]:
    """Arrays of a bag, but for its tiles."""
    with _opened(self.paths[i]) as file:
      return {name: _array(file, name) for name in _NAMES if name in file}

  def pictures(
    self, i: int, rows: Sequence[int]
  ) -> UInt8[np.ndarray, "r H W 3"] | None:
    """Tiles of some instances; None if the file holds none."""
    with _opened(self.paths[i]) as file:
      if "tiles" not in file:
        return None
      tiles = _array(file, "tiles")[np.asarray(rows, int)]
    if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[-1] != 3:
      raise UserError(
        f"{self.paths[i]} has tiles {tiles.dtype} of shape {tiles.shape};"
        " expected uint8 [n H W 3]"
      )
    return tiles


def is_bag(path: Path) -> bool:
  """Whether the suffix is that of a bag and the file is not hidden."""
  return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
  """Shapes of the arrays in a file, whose contents are not read.

  Raises:
    UserError: the file cannot be read, or has no vectors.
  """
  with _opened(path) as file:
    found = {name: _shape(file, name) for name in file}
  if len(found.get(_FEATURES, ())) != 2:
    held = ", ".join(f"{name} {list(s)}" for name, s in found.items())
    raise UserError(
      f"{path} holds {held or 'nothing'}; expected 'features' [n c]"
    )
  return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
  """The arrays of a file by name."""
  try:
    if path.suffix.lower() == ".npz":
      with array_file.named(path) as file:
        yield file
    else:
      with _hdf5().File(path, "r") as file:
        yield file
  except (OSError, ValueError, KeyError) as e:
    raise UserError(f"{path} is not a bag: {e!s:.200}") from e


@functools.cache
def _hdf5() -> Any:
  try:
    return importlib.import_module("h5py")
  except ImportError as error:
    raise UserError(f"bags in HDF5 need h5py: {_INSTALL}") from error


def _array(file: Any, name: str) -> np.ndarray:
  return np.asarray(file[name])


def _shape(file: Any, name: str) -> tuple[int, ...]:
  if not hasattr(file, "zip"):
    return tuple(getattr(file[name], "shape", ()))
  with file.zip.open(f"{name}.npy") as member:
    version = np.lib.format.read_magic(member)
    read = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
      raise ValueError(f"{name}: version {version} of the format")
    shape, _, _ = read[version](member)
  return shape
