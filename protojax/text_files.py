"""Reads files of others, and says in one line why one cannot be read.

Only regular files are read: a pipe would let a command wait for ever.
"""

from collections.abc import Iterator
import contextlib
from pathlib import Path
import stat
from typing import IO

from protojax.errors import UserError
from protojax.writing import reason

# Most bytes of a file, or of a line of one. The largest that is written here,
# the check of a million images, has a hundred million.
MOST_BYTES = 256 << 20


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
  """A regular file, to read its bytes; for code that does nothing else.

  Raises:
    UserError: it is not there, is no regular file, or cannot be read.
  """
  path = Path(path)
  try:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
      raise UserError(f"{path} is a folder; a file is expected there")
    if not stat.S_ISREG(mode):
      raise UserError(f"{path} is no regular file, such as a pipe or a device")
    with path.open("rb") as file:
      yield file
  # ValueError: a NUL or half of a character in the path.
  except (OSError, ValueError) as error:
    raise UserError(f"{path} cannot be read: {reason(error)}") from error


def read(path: str | Path, most: int = MOST_BYTES) -> str:
  """The text of a file in UTF-8, without a byte order mark.

  Args:
    path: of a regular file.
    most: bytes that it may have.

  Raises:
    UserError: it is not there, cannot be read, has too many bytes, or is not
      text in UTF-8.
  """
  with opened(path) as file:
    content = file.read(most + 1)
  if len(content) > most:
    raise UserError(f"{path} has more than {most:,} bytes, too many to read")
  if b"\0" in content:
    raise UserError(f"{path} is not text: it has a NUL character")
  try:
    return content.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise UserError(f"{path} is not text in UTF-8: {_byte(error)}") from error


def lines(path: str | Path, most: int = MOST_BYTES) -> Iterator[bytes]:
  """The lines of a file, each as it stands there, with its end.

  Raises:
    UserError: see `read`; a line has too many bytes.
  """
  with opened(path) as file:
    number = 0
    while line := file.readline(most + 1):
      number += 1
      if len(line) > most:
        raise UserError(f"{path}, line {number}: more than {most:,} bytes")
      yield line


def _byte(error: UnicodeDecodeError) -> str:
  return f"byte {error.start + 1} is {error.object[error.start]:#04x}"
