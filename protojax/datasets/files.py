"""A source of image files, and functions that find image files on disk."""

from collections.abc import Iterable, Sequence
import dataclasses
import glob
import os

from jaxtyping import Int32
import numpy as np

from protojax.data import images as images_lib
from protojax.data.source import printable
from protojax.datasets import image_check, walk
from protojax.types import UserError

# Photographs and drawings that are not decoded: phones and cameras write the
# first, which nobody should miss without a word.
_UNREAD = (
  *(".heic", ".heif", ".jxl", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf"),
  *(".raf", ".rw2", ".emf", ".eps", ".svg", ".wmf"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
  """A source of image files; see `source.Source`.

  Attributes:
    root: the folder the names are relative to.
    names: paths of the readable images, relative to `root`.
    labels: class of each; -1 is unknown.
    class_names: index = label.
    skipped: (name, reason) of each image that could not be read.
  """

  root: str
  names: tuple[str, ...]
  labels: Int32[np.ndarray, "n"]
  class_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...]

  def __len__(self) -> int:
    return len(self.names)

  def __getitem__(self, i: int) -> dict:
    path = os.path.join(self.root, self.names[i])
    try:
      image = images_lib.decode(path)
    except ValueError as e:
      raise UserError(
        f"{path} was readable when the data were opened and is not now: {e}"
      ) from e
    return {"image": image, "label": int(self.labels[i]), "name": self.name(i)}

  def name(self, i: int) -> str:
    """The path relative to `root`, as text that can be printed."""
    return printable(self.names[i])


def images(*paths: str) -> Files:
  """Opens images without labels: files, patterns, or all below a folder.

  Raises:
    UserError: nothing is there, or none of it can be read.
  """
  found: dict[str, str] = {}
  skipped: dict[str, str] = {}
  for path in paths:
    listed, passed_over = _expand(os.path.expanduser(path))
    skipped |= passed_over
    for file in listed:
      found.setdefault(os.path.abspath(file), file)
  root = os.getcwd()
  bad = image_check.unreadable(root, tuple(found.values()))
  names = tuple(f for f in found.values() if f not in bad)
  skipped |= bad
  if not names:
    first = "".join(f" ({n}: {why})" for n, why in list(skipped.items())[:1])
    raise UserError(f"no readable image in {', '.join(paths)}{first}")
  labels = np.full(len(names), -1, np.int32)
  return Files(root, names, labels, (), tuple(skipped.items()))


def each(paths: Sequence[str]) -> Files:
  """Opens the files that are named: each of them, in their order, twice too.

  Raises:
    UserError: one is not there, or cannot be read.
  """
  found = images(*paths)
  for name, why in found.skipped:
    raise UserError(f"{name} cannot be read: {why}")
  names = tuple(map(os.path.expanduser, paths))
  labels = np.full(len(names), -1, np.int32)
  return dataclasses.replace(found, names=names, labels=labels)


def below(folder: str) -> tuple[list[str], dict[str, str]]:
  """The image files in and below a folder; see `chosen`."""
  return chosen(walk.walk(folder))


def chosen(tree: walk.Tree) -> tuple[list[str], dict[str, str]]:
  """The image files of a walk.

  Image files are known by their suffix. Hidden files and folders are left out;
  see `walk` for what else is.

  Returns:
    Paths, sorted, and path -> reason of what is passed over.
  """
  # A pipe is a fault only if it passes itself off as an image.
  passed_over = {
    path: why
    for path, why in tree.skipped
    if is_image(path) or os.path.isdir(path)
  }
  passed_over |= unread(tree.files)
  return [path for path in tree.files if is_image(path)], passed_over


def unread(paths: Iterable[str]) -> dict[str, str]:
  """Path -> reason of images in formats that are not read."""
  return {
    path: f"{suffix} is not read; save it as PNG or JPEG"
    for path in paths
    if (suffix := os.path.splitext(path)[1].lower()) in _UNREAD
    and not _is_hidden(path)
  }


def folders(path: str) -> list[str]:
  """Names of the folders in a folder, sorted; hidden ones are left out."""
  with os.scandir(path) as entries:
    # A link that leads to itself is no folder; `entry.is_dir` fails on it.
    return sorted(
      e.name
      for e in entries
      if os.path.isdir(e.path) and not walk.is_hidden(e.name)
    )


def is_image(path: str) -> bool:
  """True if the suffix is that of an image and the file is not hidden."""
  suffix = os.path.splitext(path)[1].lower()
  return not _is_hidden(path) and suffix in images_lib.suffixes()


def _is_hidden(path: str) -> bool:
  return os.path.basename(path).startswith(".")


def _expand(path: str) -> tuple[list[str], dict[str, str]]:
  """The images that a path stands for; path -> reason of what it is not."""
  if os.path.isdir(path):
    return below(path)
  if os.path.exists(path):  # the user names it: any suffix will do
    return [path], {}
  found = [f for f in _matches(path) if not os.path.isdir(f)]
  matches, passed_over = [f for f in found if is_image(f)], unread(found)
  if not matches and not passed_over:
    raise UserError(f"no image at {path}: give a file, a folder or a pattern")
  return matches, passed_over


def _matches(pattern: str) -> list[str]:
  """Paths that a pattern stands for, sorted; ** is any folders."""
  start, stars, rest = pattern.partition("**" + os.sep)
  if not stars or (start and not start.endswith(os.sep)):
    return sorted(glob.glob(pattern))
  # Python's own ** never ends where links lead in a circle.
  tops = [top for top in glob.glob(start or os.curdir) if os.path.isdir(top)]
  folders = [folder for top in tops for folder in _entered(top)]
  found = (_matches(os.path.join(glob.escape(f), rest)) for f in folders)
  return sorted({os.path.normpath(path) for paths in found for path in paths})


def _entered(top: str) -> list[str]:
  tree = walk.walk(top)
  passed_over = {path for path, _ in tree.skipped}
  return [top, *(path for path in tree.folders if path not in passed_over)]
