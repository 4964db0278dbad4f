"""Reads arrays of a user's file; nothing in it is executed."""

from pathlib import Path
import zipfile

import numpy as np

from protojax import text_files
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


def read_named(path: Path, *needed: str) -> dict[str, np.ndarray]:
  """The arrays of a file that `np.savez` wrote, by name.

  Args:
    path: of the file.
    *needed: names that it must have.

  Raises:
    UserError: it cannot be read, or lacks a name.
  """
  try:
    with (
      text_files.opened(path) as raw,
      np.load(raw, allow_pickle=False) as file,
    ):
      found = {name: file[name] for name in file.files}
  except (EOFError, zipfile.BadZipFile) as error:
    raise UserError(f"{path} is no .npz of arrays ({error})") from error
  if missing := set(needed) - set(found):
    raise UserError(
      f"{path} lacks {' and '.join(sorted(missing))}; it has"
      f" {', '.join(found) or 'nothing'}"
    )
  return found
