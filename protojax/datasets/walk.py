"""Lists what lies below a folder; every command finds its files here.

Links are followed, but no folder is listed twice and none above the top is, so
that a link neither multiplies the data nor leads in a circle. Only regular
files count: to open a pipe would wait for ever.
"""

from collections.abc import Callable, Iterable
import dataclasses
import os
from pathlib import Path
import stat

_KINDS = (
  (stat.S_ISFIFO, "a pipe"),
  (stat.S_ISSOCK, "a socket"),
  (stat.S_ISCHR, "a device"),
  (stat.S_ISBLK, "a device"),
)
# A folder may be reached by a link: what is above either name is above it.
_NAMES = (os.path.realpath, os.path.abspath)


@dataclasses.dataclass(frozen=True)
class Tree:
  """What lies below some folders.

  Attributes:
    folders: paths, sorted, without the folders that were walked.
    files: paths of the regular files, sorted.
    skipped: (path, reason) of links and files that are passed over.
  """

  folders: tuple[str, ...]
  files: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...]


def is_hidden(name: str) -> bool:
  """Whether a file or folder is none of the user's, by its name alone."""
  return name.startswith(".") or name == "__MACOSX"  # macOS puts it into zips


def walk(*tops: str, hidden: bool = False) -> Tree:
  """Lists all that lies in and below some folders.

  Where several names lead to one folder, the one that is no link is taken, and
  among links the first.

  Args:
    tops: folders; those that do not exist are empty.
    hidden: True to list hidden names, too.
  """
  walking = _Walking([top for top in tops if os.path.isdir(top)], hidden)
  # Links wait until all real folders are listed.
  for place in walking.places:
    walking.enter(place)
  return Tree(
    tuple(sorted(walking.folders)),
    tuple(sorted(walking.files)),
    tuple(sorted(walking.skipped)),
  )


def once(
  paths: Iterable[str], root: str
) -> tuple[list[str], list[tuple[str, str]]]:
  """Leaves out files that are among the others by another name.

  Args:
    paths: files below `root`.
    root: of two names, the one counts that has no link below `root`.

  Returns:
    The files that stay, in the order given, and (path, reason) of the others.
  """
  top = os.path.realpath(root)
  # Of each folder once: a link among a million files is not looked for again.
  homes: dict[str, tuple[str, bool]] = {}
  found = []
  for path in paths:
    folder = path[: path.rfind(os.sep) + 1]
    if folder not in homes:
      place = os.path.realpath(folder)
      named = os.path.normpath(os.path.join(top, below(folder, root)))
      homes[folder] = os.path.join(place, ""), named == place
    home, plain = homes[folder]
    if os.path.islink(path):
      found.append((path, os.path.realpath(path), False))
    else:
      found.append((path, home + path[len(folder) :], plain))
  first = {real: path for path, real, plain in found if plain}
  for path, real, _ in found:
    first.setdefault(real, path)
  lost = [(path, real) for path, real, _ in found if first[real] != path]
  return [path for path, real, _ in found if first[real] == path], [
    (path, f"leads to {first[real]}, which is read already")
    for path, real in lost
  ]


def below(path: str, root: str) -> str:
  """A path as seen from a folder, as `os.path.relpath` tells it.

  A million of them take a second where those that begin with the folder, as a
  walk gives them, are cut; `relpath` takes half a minute.

  Args:
    path: of a file or folder, without "." or ".." behind the root.
    root: the folder.
  """
  start = root if root.endswith(os.sep) or not root else root + os.sep
  if path.startswith(start) and len(path) > len(start):
    return path[len(start) :]
  return os.path.relpath(path, root)


def irregular(path: str | os.PathLike) -> str:
  """Says why a path is no regular file; '' if it is one.

  Raises:
    OSError: there is nothing.
  """
  mode = os.stat(path).st_mode
  if stat.S_ISREG(mode):
    return ""
  if stat.S_ISDIR(mode):
    return "a folder, not a file"
  kinds = (name for is_kind, name in _KINDS if is_kind(mode))
  return f"{next(kinds, 'a special file')}, not a regular file"


class _Walking:
  """A walk: what it has found, and the folders and links still to enter."""

  def __init__(self, tops: Iterable[str], hidden: bool) -> None:
    self.places = list(tops)
    self.folders: list[str] = []
    self.files: list[str] = []
    self.skipped: list[tuple[str, str]] = []
    self._hidden = hidden
    self._known: dict[tuple[int, int], str] = {}
    starts = {start(t) for t in tops for start in _NAMES}
    above = {str(parent) for start in starts for parent in Path(start).parents}
    self._above = {_identity(folder): folder for folder in above - starts}

  def enter(self, place: str) -> None:
    """Lists a folder and the real folders below it; links come later."""
    inside = [place]
    while inside:
      folder = inside.pop()
      if self._is_new(folder):
        inside += self._listed(folder)

  def _is_new(self, folder: str) -> bool:
    key = _identity(folder)
    if key in self._above:
      why = f"leads to {self._above[key]}, which is above"
    elif key in self._known:
      why = f"leads to {self._known[key]}, which is read already"
    else:
      self._known[key] = folder
      return True
    self.skipped.append((folder, why))
    return False

  def _listed(self, folder: str) -> list[str]:
    """The real folders in a folder; notes all else that it holds."""
    try:
      with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    except OSError as e:
      self.skipped.append((folder, f"cannot be listed: {e.strerror}"))
      return []
    real = []
    for entry in found:
      if is_hidden(entry.name) and not self._hidden:
        continue
      if entry.is_file(follow_symlinks=False):
        self.files.append(entry.path)
      elif entry.is_dir(follow_symlinks=False):
        real.append(entry.path)
        self.folders.append(entry.path)
      elif _safely(entry.is_dir):
        self.places.append(entry.path)
        self.folders.append(entry.path)
      elif _safely(entry.is_file):
        self.files.append(entry.path)
      else:
        self.skipped.append((entry.path, _why(entry.path)))
    return real


def _identity(folder: str) -> tuple[int, int]:
  status = os.stat(folder)
  return status.st_dev, status.st_ino


def _safely(ask: Callable[[], bool]) -> bool:
  try:
    return ask()
  except OSError:  # a link that leads to itself
    return False


def _why(path: str) -> str:
  try:
    return irregular(path)
  except OSError:
    return "a link that leads nowhere"
