"""Reads an array of a user's file; nothing in it is executed."""

from pathlib import Path
import zipfile

import numpy as np

from protojax.types import UserError


def read(path: str | Path, mapped: bool = False) -> np.ndarray:
  """The real numbers of a file that `np.save` wrote.

  Args:
    path: of the file.
    mapped: leave it on the disk until it is used.

  Raises:
    UserError: it cannot be read, or holds anything else.
  """
  try:
    found = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(f"{path} is not an array of NumPy: {error!s:.200}") from (
      error
    )
  if not isinstance(found, np.ndarray):
    raise UserError(f"{path} holds several arrays; expected one, as np.save")
  if not any(np.issubdtype(found.dtype, k) for k in (np.floating, np.integer)):
    raise UserError(f"{path} holds {found.dtype}; expected real numbers")
  return found
