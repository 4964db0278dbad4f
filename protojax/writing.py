"""Writes files, and reports errors of the disk to the user in one line.

The user can mend a full disk, a folder of someone else, or a file in place of
a folder. All code that writes files does so inside `writing` or `replacing`.
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import errno
import io
import json
import math
import os
from pathlib import Path
import shutil
import sys
from typing import IO, Any

from protojax import leftovers, printing
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
  are made, a link leads to the file that is replaced, and what is no regular
  file, such as a pipe or /dev/null, is written to as it is.

  Args:
    path: what to write.
    mode: "w" for UTF-8 text, whose line ends are not changed; "wb" for bytes.

  Raises:
    UserError: there is no room, or no right to write.
  """
  # File names need not be valid UTF-8; they are shown with their escapes.
  encoding, errors, newline = "utf-8", "backslashreplace", ""
  if "b" in mode:
    encoding = errors = newline = None
  whole = _is_replaced(path)
  target = Path(os.path.realpath(path)) if whole else path
  partial = leftovers.partial(target) if whole else path
  with writing(path):
    if whole:
      target.parent.mkdir(parents=True, exist_ok=True)
      leftovers.sweep(target.parent)

    def made() -> IO[Any]:
      return open(
        partial, mode, encoding=encoding, errors=errors, newline=newline
      )

    file = leftovers.owned(made, partial) if whole else made()
  try:
    yield file
    with writing(path), leftovers.held(file):
      # Closing tells of a disk that is full.
      file.close()
      if whole:
        os.replace(partial, target)
  except OSError as error:
    # Another error may be of a file that the caller reads from.
    if not of_the_disk(error):
      raise
    raise failure(path, error) from error
  finally:
    # Closing writes what is left, which fails again on a full disk.
    with contextlib.suppress(OSError):
      file.close()
    if whole:
      with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)


def _is_replaced(path: Path) -> bool:
  """Whether a file is moved to that place, or written there: to a device."""
  # Links there lead to what is open already, such as /dev/stdout to a file.
  place = os.path.abspath(path)
  if place.startswith(("/dev/", "/proc/")) and os.path.exists(place):
    return place.startswith("/dev/shm/")
  # Of these, unlike those of `Path`, none raises.
  return not os.path.exists(place) or os.path.isfile(place)


@contextlib.contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
  """A new folder beside a place, for what is moved there once it is complete.

  It is deleted at the end, unless it was moved.

  Raises:
    UserError: there is no room, or no right to write.
  """
  partial = leftovers.partial(place)
  with writing(place):
    place.parent.mkdir(parents=True, exist_ok=True)
    leftovers.sweep(place.parent)
    descriptor = leftovers.owned(lambda: leftovers.folder(partial), partial)
  try:
    yield partial
  finally:
    shutil.rmtree(partial, ignore_errors=True)
    os.close(descriptor)


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


def require_apart(output: str, inputs: Iterable[str]) -> None:
  """Refuses an output in the place of a file that the command reads.

  Args:
    output: the file to write; '' is stdout.
    inputs: files.

  Raises:
    UserError: the output is one of them, by whatever name or link.
  """
  try:
    there = os.stat(output) if output else None
  except OSError:
    return
  if there is None:
    return
  for path in inputs:
    with contextlib.suppress(OSError):
      if os.path.samestat(there, os.stat(path)):
        raise UserError(
          f"--output={output} is {path}, which is read, and would be lost; name"
          " another file"
        )


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


def of_the_disk(error: OSError) -> bool:
  """Whether an error is that of a disk, also where no file is named."""
  return error.errno in _OF_THE_DISK


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
