"""Reads arrays of a user's file; nothing in it is executed."""

from collections.abc import Iterator
import contextlib
from pathlib import Path
import zipfile

import numpy as np

from protojax import text_files, writing
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
  with named(path) as file:
    found = {name: file[name] for name in file.files}
  if missing := set(needed) - set(found):
    raise UserError(
      f"{path} lacks {' and '.join(sorted(missing))}; it has"
      f" {', '.join(found) or 'nothing'}"
    )
  return found


@contextlib.contextmanager
def named(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
  """The file that `np.savez` wrote, for arrays that are read one by one.

  Raises:
    UserError: it cannot be read, or is damaged where it is read.
  """
  try:
    with text_files.opened(path) as raw:
      found = np.load(raw, allow_pickle=False)
      if not isinstance(found, np.lib.npyio.NpzFile):
        raise UserError(
          f"{path} holds one array; expected several, as np.savez"
        )
      with found as file:
        yield file
  except (EOFError, zipfile.BadZipFile) as error:
    raise UserError(
      f"{path} is no .npz of arrays ({writing.first_line(error)}): write it"
      " with numpy.savez"
    ) from error
