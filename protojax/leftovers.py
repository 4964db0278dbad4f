"""Files and folders that are being written, and what killed commands left.

What is not complete has a name of its own, `.NAME.PROCESS.N.partial`, and is
locked by the process that writes it. The system frees the lock when the process
ends, however it ends: what nobody holds was left and is deleted. On a disk
without locks nothing is.
"""

from collections.abc import Callable, Iterator
import contextlib
import fcntl
import itertools
import os
from pathlib import Path
import re
import shutil
from typing import Any

_NAME = re.compile(r"\..+\.\d+\.\d+\.partial", re.DOTALL)
# Of what this process writes: threads may write to one place.
_numbers = itertools.count()
# Folders that this process has swept.
_swept: set[Path] = set()


def partial(place: Path) -> Path:
  """Where this process writes what is moved to a place."""
  number = f"{os.getpid()}.{next(_numbers)}"
  return place.with_name(f".{place.name}.{number}.partial")


def folder(path: Path) -> int:
  """Makes a folder; returns a descriptor of it."""
  path.mkdir(exist_ok=True)
  return os.open(path, os.O_RDONLY)


def owned(make: Callable[[], Any], path: Path) -> Any:
  """What `make` opens at a path, a file or a descriptor, locked."""
  while True:
    opened = make()
    with contextlib.suppress(OSError):
      fcntl.flock(opened, fcntl.LOCK_EX)
    # Another process may have swept it before it was locked.
    with contextlib.suppress(FileNotFoundError):
      number = opened if isinstance(opened, int) else opened.fileno()
      if os.path.samestat(os.fstat(number), os.stat(path)):
        return opened
    os.close(opened) if isinstance(opened, int) else opened.close()


@contextlib.contextmanager
def held(opened: Any) -> Iterator[None]:
  """Keeps the lock though the file is closed in between."""
  descriptor = os.dup(opened.fileno())
  try:
    yield
  finally:
    os.close(descriptor)


def sweep(place: Path) -> None:
  """Deletes what was left in a folder; once in a process."""
  if place in _swept:
    return
  _swept.add(place)
  with contextlib.suppress(OSError), os.scandir(place) as entries:
    for path in [Path(e.path) for e in entries if _NAME.fullmatch(e.name)]:
      _delete(path)


def _delete(path: Path) -> None:
  with contextlib.suppress(OSError):
    descriptor = os.open(path, os.O_RDONLY)
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
      if path.is_dir():
        shutil.rmtree(path)
      else:
        path.unlink()
    finally:
      os.close(descriptor)
