"""A source of image files, and functions that find image files on disk."""

from collections.abc import Iterator
import dataclasses
import glob
import os

from jaxtyping import Int32
import numpy as np
from PIL import Image

from protojax.data import images as images_lib
from protojax.data.source import printable
from protojax.datasets import image_check
from protojax.types import UserError


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
  found = {}
  for path in paths:
    for file in _expand(os.path.expanduser(path)):
      found.setdefault(os.path.abspath(file), file)
  root = os.getcwd()
  bad = image_check.unreadable(root, tuple(found.values()))
  names = tuple(f for f in found.values() if f not in bad)
  if not names:
    first = "".join(f" ({name}: {why})" for name, why in list(bad.items())[:1])
    raise UserError(f"no readable image in {', '.join(paths)}{first}")
  labels = np.full(len(names), -1, np.int32)
  return Files(root, names, labels, (), tuple(bad.items()))


def below(folder: str) -> Iterator[str]:
  """Paths of the image files in and below a folder, sorted by name.

  Image files are known by their suffix. Hidden files and folders are left out.
  """
  for place, folders, files in os.walk(folder, followlinks=True):
    folders[:] = sorted(f for f in folders if not f.startswith("."))
    yield from (os.path.join(place, f) for f in sorted(files) if is_image(f))


def folders(path: str) -> list[str]:
  """Names of the folders in a folder, sorted; hidden ones are left out."""
  with os.scandir(path) as entries:
    return sorted(
      e.name for e in entries if e.is_dir() and not e.name.startswith(".")
    )


def is_image(path: str) -> bool:
  """True if the suffix is that of an image and the file is not hidden."""
  name = os.path.basename(path)
  suffix = os.path.splitext(name)[1].lower()
  # Pillow's table of suffixes also holds formats that it only writes.
  kind = Image.registered_extensions().get(suffix)
  return not name.startswith(".") and kind in Image.OPEN


def _expand(path: str) -> list[str]:
  if os.path.isdir(path):
    return list(below(path))
  if os.path.exists(path):  # the user names it: any suffix will do
    return [path]
  matches = sorted(glob.glob(path, recursive=True))
  found = [f for f in matches if os.path.isfile(f) and is_image(f)]
  if not found:
    raise UserError(f"no image at {path}: give a file, a folder or a pattern")
  return found
