"""Files that are written whole or not at all, in the user's cache or not."""

import os
from pathlib import Path
import tempfile


def write_atomically(path: Path, content: bytes) -> None:
  """Writes a file that others see whole or not at all.

  Raises:
    OSError: the folder cannot be written, or the disk is full.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
  try:
    with os.fdopen(handle, "wb") as f:
      f.write(content)
    os.replace(temporary, path)
  except BaseException:
    os.unlink(temporary)
    raise
