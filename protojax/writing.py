"""Writes files, and reports errors of the disk to the user in one line.

The user can mend a full disk, a folder of someone else, or a file in place of
a folder. All code that writes files does so inside `writing` or `replacing`.
"""

from collections.abc import Iterator, Mapping
import contextlib
import errno
import io
import json
import math
import os
from pathlib import Path
import sys
from typing import IO, Any

from protojax import printing
from protojax.errors import UserError

# Errors that the user mends by making room, and their words.
_NO_ROOM = {
  errno.ENOSPC: "the disk is full",
  errno.EDQUOT: "the disk quota is used up",
  errno.EFBIG: "the file is larger than the disk or a limit allows",
}
# Errors that are the disk's, also where the caller reads other files meanwhile.
_OF_THE_DISK = (*_NO_ROOM, errno.EIO, errno.EROFS)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
  """For code that writes to `path` and does nothing else.

  Raises:
    UserError: in place of an OSError.
  """
  try:
    yield
  except OSError as error:
    raise failure(path, error) from error


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
  """Opens a new file that replaces `path` if all goes well.

  A reader sees the complete old file or the complete new one. Missing folders
  are made.

  Args:
    path: what to write.
    mode: "w" for UTF-8 text, whose line ends are not changed; "wb" for bytes.

  Raises:
    UserError: there is no room, or no right to write.
  """
  partial = path.with_name(f".{path.name}.{os.getpid()}")
  # File names need not be valid UTF-8; they are shown with their escapes.
  encoding, errors, newline = "utf-8", "backslashreplace", ""
  if "b" in mode:
    encoding = errors = newline = None
  with writing(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(  # noqa: SIM115
      partial, mode, encoding=encoding, errors=errors, newline=newline
    )
  try:
    yield file
    with writing(path):
      file.close()
      os.replace(partial, path)
  except OSError as error:
    # Another error may be of a file that the caller reads from.
    if error.errno not in _OF_THE_DISK:
      raise
    raise failure(path, error) from error
  finally:
    # Closing writes what is left, which fails again on a full disk.
    with contextlib.suppress(OSError):
      file.close()
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(output: str) -> Iterator[Any]:
  """The text file that a command writes to; '' is stdout.

  A file appears when it is complete.

  Raises:
    UserError: it cannot be written.
  """
  if not output:
    if isinstance(sys.stdout, io.TextIOWrapper):
      # As in a file: names that are not UTF-8 are shown with their escapes.
      sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if sys.stdout is None:
      raise UserError("standard output is closed; name a file with --output")
    yield printing.Output(sys.stdout)
    return
  if Path(output).is_dir():
    raise UserError(f"--output={output} is a folder; name a file in it")
  with replacing(Path(output)) as file:
    yield file


def json_text(content: Any, indent: int | None = None) -> str:
  """Valid JSON: numbers that are not finite become null.

  JSON has no word for them, and Python's own, such as NaN, break the readers of
  other languages.

  Args:
    content: what `json.dumps` takes.
    indent: spaces of a level; None: all on one line.
  """
  return json.dumps(_valid(content), indent=indent, allow_nan=False)


def _valid(content: Any) -> Any:
  if isinstance(content, float):
    return content if math.isfinite(content) else None
  if isinstance(content, Mapping):
    return {name: _valid(value) for name, value in content.items()}
  if isinstance(content, list | tuple):
    return [_valid(value) for value in content]
  return content


def failure(what: object, error: Exception, note: str = "") -> UserError:
  """The error to raise if `what`, a path or words, could not be written.

  Args:
    what: begins the message.
    error: what writing it raised.
    note: a sentence to put before the way out.
  """
  way_out = (
    "Make room and run the same command again."
    if _no_room(error)
    else "Name another place, or make this one writable."
  )
  sentences = f"{what} could not be written: {reason(error)}.", note, way_out
  return UserError(" ".join(filter(None, sentences)))


def reason(error: Exception) -> str:
  """Why something could not be read or written, in a few words."""
  if isinstance(error, OSError) and error.strerror:
    return _no_room(error) or error.strerror.lower()
  return _no_room(error) or first_line(error)


def first_line(error: Exception) -> str:
  """The beginning of an error's message, which may be empty."""
  lines = str(error).strip().splitlines()
  return lines[0][:200] if lines else "no details"


def _no_room(error: Exception) -> str:
  """The words for a full disk; empty for other errors."""
  for code, words in _NO_ROOM.items():
    # C++ libraries pass on the system's words, not its error number.
    if getattr(error, "errno", None) == code or os.strerror(code) in str(error):
      return words
  return ""
