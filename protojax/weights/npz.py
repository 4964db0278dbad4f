"""Reads NumPy's npz: a zip archive with one array in each file."""

import io
import math

import numpy as np

from protojax.types import UserError

_LONGEST_HEADER = 2**16
_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}


def read(members: dict[str, memoryview]) -> dict[str, np.ndarray]:
  """Arrays by name, as views of the archive.

  Args:
    members: name -> bytes of each file: `zipped.members`.

  Raises:
    UserError: an array does not hold numbers, or has another length.
    Exception: of any kind, for damaged bytes.
  """
  return {
    name.removesuffix(".npy"): _array(name, content)
    for name, content in members.items()
  }


def _array(name: str, content: memoryview) -> np.ndarray:
  file = io.BytesIO(content[:_LONGEST_HEADER])
  version = np.lib.format.read_magic(file)
  shape, fortran, dtype = _HEADERS[version](file)
  if dtype.kind not in "fiub":
    raise UserError(f"{name!r:.200} holds {dtype}; numbers only are read")
  start = file.tell()
  if math.prod(shape) * dtype.itemsize != len(content) - start:
    raise UserError(f"it is damaged: {name!r:.200} has another length")
  flat = np.frombuffer(content[start:], dtype)
  return flat.reshape(shape, order="F" if fortran else "C")
