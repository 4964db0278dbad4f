"""Reads the lists of a data set from Matlab's .mat files."""

from collections.abc import Iterable
import io
from typing import Any

from protojax.datasets.archive import Archive
from protojax.types import UserError


def lists(files: Archive, names: Iterable[str]) -> dict[str, dict[str, Any]]:
  """Reads .mat files of an archive, from whatever folder they lie in.

  Returns:
    Name of the file -> its variables.

  Raises:
    UserError: a file is missing, or broken.
  """
  import scipy.io

  places = {}
  for name in names:
    found = [n for n in files.names if f"/{n}".endswith(f"/{name}")]
    if not found:
      raise UserError(f"{files.title} lacks {name}, a list of the data set")
    places[min(found, key=len)] = name
  read = {}
  for place, content in files.read(places):
    try:
      read[places[place]] = scipy.io.loadmat(
        io.BytesIO(content), squeeze_me=True
      )
    # A broken file may raise anything.
    except Exception as e:
      raise UserError(
        f"{place} in {files.title} is broken ({e}): get it again"
      ) from e
  return read
