"""Reads the files of a data set from a folder or an archive (.tar, .tgz, .zip).

Archives are never unpacked. A name in an archive is looked up in a list, not on
the disk, so that it cannot lead to a file outside.
"""

import collections
from collections.abc import Callable, Generator, Iterable, Iterator
import contextlib
import dataclasses
import functools
import gzip
import os
from pathlib import Path, PurePosixPath
import tarfile
import zipfile
import zlib

from protojax.datasets import walk
from protojax.types import UserError

_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".zip")
_LARGEST = 256 << 20  # bytes of one file; a list has 3 MB, a photograph 10
_LONGEST_HEADER = 64 << 10  # bytes of a long name or of other extra fields
# What the names of all files may take in memory; a million need 150 MB.
_MOST_LISTED = 256 << 20
_OF_NAME = 100

# A file: its name, its size in bytes, and a function that reads it.
_Member = tuple[str, int, Callable[[], bytes]]
_DAMAGE = (
  tarfile.TarError,
  zipfile.BadZipFile,
  zlib.error,
  EOFError,
  OSError,
  RuntimeError,  # encrypted
  NotImplementedError,  # packed in a way that Python does not know
)


@dataclasses.dataclass(frozen=True)
class Archive:
  """Files by name, in the order of the archive.

  Attributes:
    title: path of the archive or folder.
    places: path on the disk -> names of the files that are read from there.
    folders: names of all folders, also of empty ones.
    skipped: (name, reason) of links and special files that are passed over, and
      of names that an archive holds several times.
  """

  title: str
  places: dict[str, tuple[str, ...]]
  folders: frozenset[str]
  skipped: tuple[tuple[str, str], ...] = ()

  @property
  def names(self) -> Iterator[str]:
    """Names of all files, with / between folders and file."""
    return (name for names in self.places.values() for name in names)

  def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of some files, in the archive's order.

    Names that the archive does not have are passed over.

    Raises:
      UserError: the archive is damaged, or has changed since it was opened.
    """
    wanted = set(names)
    for place, known in self.places.items():
      here = wanted.intersection(known)
      if not here:
        continue
      opened = contextlib.closing(_members(place))
      with _reporting_damage(place), opened as members:
        for name, size, content in members:
          if name not in here:
            continue
          if size > _LARGEST:
            raise UserError(
              f"{name} in {place} has {size >> 20:,} MB: no image or list of"
              " this data set is that large"
            )
          yield name, content()
          here.remove(name)  # a file that is there twice is read once
          if not here:
            break
      if here:
        raise UserError(
          f"{min(here)} was in {place} when that was opened and is not now"
        )


def opened(path: str) -> Archive:
  """Lists the files of an archive or a folder.

  Archives in a folder count as if they were unpacked there.

  Raises:
    UserError: there is no such file or folder, or it is no archive.
  """
  path = os.path.expanduser(path)
  if not os.path.exists(path):
    raise UserError(
      f"--source={path} is not there: give a folder or an archive"
    )
  paths = [path]
  if os.path.isdir(path):
    inside = [os.path.join(path, name) for name in sorted(os.listdir(path))]
    paths += [p for p in inside if _is_archive(p) and os.path.isfile(p)]
  elif not _is_archive(path) or not os.path.isfile(path):
    raise UserError(
      f"--source={path} is neither a folder nor one of {', '.join(_SUFFIXES)}"
    )
  places, folders = {}, set()
  taken: set[str] = set()
  skipped: list[tuple[str, str]] = []
  for place in paths:
    with _reporting_damage(place):
      found = _listed(place, folders)
    # An unpacked file is taken before the same file in an archive.
    counts = collections.Counter(found)
    places[place] = tuple(n for n in counts if n not in taken)
    taken.update(places[place])
    skipped += [
      (name, f"{counts[name]} times in {place}: the first is read")
      for name in places[place]
      if counts[name] > 1 and not any(map(walk.is_hidden, name.split("/")))
    ]
  for name in taken:
    folders.update(str(parent) for parent in PurePosixPath(name).parents)
  if os.path.isdir(path):
    found = walk.walk(path, hidden=True).skipped
    skipped += [(_name(p, path), why) for p, why in found]
  return Archive(path, places, frozenset(folders - {"."}), tuple(skipped))


def _listed(place: str, folders: set[str]) -> list[str]:
  """Names of the files; an archive can hold many in few bytes."""
  found, spent = [], 0
  for name, _, _ in _members(place, folders):
    spent += len(name) + _OF_NAME
    if spent > _MOST_LISTED:
      raise UserError(
        f"{place} lists more than {len(found):,} files: no data set of images"
        " is that large"
      )
    found.append(name)
  return found


def _members(
  place: str, folders: set[str] | None = None
) -> Generator[_Member, None, None]:
  """Files in a folder or an archive; adds its folders to `folders`."""
  folders = set() if folders is None else folders
  if os.path.isdir(place):
    yield from _of_folder(place, folders)
  elif place.lower().endswith(".zip"):
    yield from _of_zip(place, folders)
  else:
    yield from _of_tar(place, folders)


def _of_folder(place: str, folders: set[str]) -> Iterator[_Member]:
  tree = walk.walk(place, hidden=True)
  folders.update(_name(path, place) for path in tree.folders)
  for path in tree.files:
    yield _name(path, place), os.path.getsize(path), Path(path).read_bytes


def _name(path: str, place: str) -> str:
  return os.path.relpath(path, place).replace(os.sep, "/")


def _of_tar(place: str, folders: set[str]) -> Iterator[_Member]:
  # As a stream: a compressed archive cannot be read from the middle.
  with _unpacked(place) as file:
    while (member := file.next()) is not None:
      # tarfile keeps all members, of which nobody needs one twice.
      file.members.clear()  # pyrefly: ignore
      name = _plain(member.name)
      if name and member.isdir():
        folders.add(name)
      elif name and member.isreg():  # neither a link nor a device
        yield name, member.size, _content(file, member)


@contextlib.contextmanager
def _unpacked(place: str) -> Iterator[tarfile.TarFile]:
  with open(place, "rb") as raw:
    packed = raw.read(2) == b"\x1f\x8b"
  if not packed:
    with tarfile.open(place, "r|*", tarinfo=_TarInfo) as file:
      yield file
    return
  # tarfile's own stream copies all that it has unpacked at each block.
  with (
    gzip.open(place) as raw,
    tarfile.open(place, "r|", fileobj=raw, tarinfo=_TarInfo) as file,
  ):
    yield file


class _TarInfo(tarfile.TarInfo):
  """A member whose extra fields are short; sparse files are refused.

  tarfile reads a long name, or other fields (PAX), into memory whole, and they
  may be as long as a file.
  """

  def _proc_member(self, tarfile: tarfile.TarFile) -> tarfile.TarInfo:
    """The method of tarfile that a subclass may replace."""
    if self.type in _EXTRA:
      # Fields for all files that follow are kept with each of them.
      kept = sum(len(k) + len(v) for k, v in tarfile.pax_headers.items())
      if self.size + kept > _LONGEST_HEADER:
        raise UserError(
          f"{tarfile.name} has {self.size + kept:,} bytes of extra fields for"
          f" one file; {_LONGEST_HEADER:,} at most are read"
        )
    elif self.type == _SPARSE:
      self._refuse_sparse()
    return super()._proc_member(tarfile)  # pyrefly: ignore

  def _refuse_sparse(
    self, described: tarfile.TarInfo | None = None, *_
  ) -> None:
    name = (described or self).name[:200]
    raise UserError(
      f"{name!r} is a sparse file, which is not read: pack it again without"
      " tar's --sparse"
    )

  # What fields say of sparse files is read without a limit, too.
  _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


_SPARSE = tarfile.GNUTYPE_SPARSE
_EXTRA = (
  tarfile.GNUTYPE_LONGNAME,
  tarfile.GNUTYPE_LONGLINK,
  tarfile.XHDTYPE,
  tarfile.XGLTYPE,
  tarfile.SOLARIS_XHDTYPE,
)


def _content(
  file: tarfile.TarFile, member: tarfile.TarInfo
) -> Callable[[], bytes]:
  def read() -> bytes:
    opened = file.extractfile(member)
    assert opened is not None, "a regular file can be opened"
    return opened.read()

  return read


def _of_zip(place: str, folders: set[str]) -> Iterator[_Member]:
  with zipfile.ZipFile(place) as file:
    for member in file.infolist():
      name = _plain(member.filename)
      if name and member.is_dir():
        folders.add(name)
      elif name:
        yield name, member.file_size, functools.partial(file.read, member)


def _plain(name: str) -> str:
  """The name without ./; '' if it leads out of the archive."""
  names = PurePosixPath(name).parts
  return "" if ".." in names or name.startswith("/") else "/".join(names)


def _is_archive(path: str) -> bool:
  return path.lower().endswith(_SUFFIXES) and os.path.isfile(path)


@contextlib.contextmanager
def _reporting_damage(place: str) -> Iterator[None]:
  """Turns the errors of a damaged archive into a UserError."""
  try:
    yield
  except _DAMAGE as error:
    raise UserError(
      f"{place} is damaged or cut short"
      f" ({str(error) or type(error).__name__}): get it again"
    ) from error
