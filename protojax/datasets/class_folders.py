"""Lists the images of an archive that has one folder for each class.

The layout is that of `folder`: train/<class>/* and test/<class>/*, or
<class>/*; all may lie below one more folder. Without splits, 40 % of each class
become test images. `photo_records` writes what is listed.
"""

from protojax.data import splits
from protojax.data.source import printable
from protojax.datasets import files as files_lib
from protojax.datasets.archive import Archive
from protojax.datasets.photo_records import Listing, Photo
from protojax.types import UserError

NAME = "prepared"  # of the data set that is written
_SPLITS = ("train", "test")
_TEST_FRACTION = 0.4
_SEED = 0


def read(files: Archive) -> Listing:
  """Lists the images of all classes.

  Raises:
    UserError: there is no class, one has no image, or the splits differ in
      their classes.
  """
  root = _root(files)
  if set(_SPLITS) <= set(_below(files, root)):
    by_split = {s: _classes(files, f"{root}{s}/") for s in _SPLITS}
  else:
    by_split = _drawn(files, _classes(files, root), root)
  train, test = by_split.values()
  if train.keys() != test.keys():
    name = printable(min(train.keys() ^ test.keys()))
    raise UserError(
      f"the splits of {files.title} differ in classes: {name} is in one of them"
      " only"
    )
  return Listing(
    name=NAME,
    class_names=tuple(train),
    photos=tuple(
      Photo(path, path.removeprefix(root), label, split)
      for split, classes in by_split.items()
      for label, paths in enumerate(classes.values())
      for path in paths
    ),
  )


def _root(files: Archive) -> str:
  """Path of the folder that holds the classes or splits; '' is the top."""
  root = ""
  while len(inside := _below(files, root)) == 1:
    deeper = f"{root}{inside[0]}/"
    if not _below(files, deeper):
      break
    root = deeper
  return root


def _below(files: Archive, root: str) -> list[str]:
  """Names of the folders in a folder, sorted, without hidden ones."""
  inside = (f.removeprefix(root) for f in files.folders if f.startswith(root))
  return sorted(f for f in inside if "/" not in f and not _hidden(f))


def _classes(files: Archive, home: str) -> dict[str, list[str]]:
  """Class -> paths of its images, both sorted."""
  found: dict[str, list[str]] = {c: [] for c in _below(files, home)}
  if not found:
    raise UserError(
      f"no class folder in {files.title}: expected <class>/ with images in it"
    )
  for path in sorted(files.names):
    class_name, _, rest = path.removeprefix(home).partition("/")
    inside = path.startswith(home) and class_name in found and rest
    if inside and not any(map(_hidden, rest.split("/"))):
      found[class_name] += [path] * files_lib.is_image(path)
  for class_name, paths in found.items():
    if not paths:
      raise UserError(
        f"class {printable(class_name)!r} in {files.title} has no image: add"
        f" images to {printable(home + class_name)} or remove it"
      )
  return found


def _drawn(
  files: Archive, classes: dict[str, list[str]], root: str
) -> dict[str, dict[str, list[str]]]:
  """Split -> class -> paths, drawn by their names as in `folder`."""
  by_split: dict[str, dict[str, list[str]]] = {s: {} for s in _SPLITS}
  for class_name, paths in classes.items():
    if len(paths) < 2:
      raise UserError(
        f"class {printable(class_name)!r} in {files.title} has 1 image and the"
        " split into train and test needs 2: add some"
      )
    names = [path.removeprefix(root) for path in paths]
    drawn = splits.held_out(names, _TEST_FRACTION, _SEED)
    test = {paths[i] for i in drawn}
    by_split["train"][class_name] = [path for path in paths if path not in test]
    by_split["test"][class_name] = [path for path in paths if path in test]
  return by_split


def _hidden(name: str) -> bool:
  return name.startswith(".") or name == "__MACOSX"  # macOS puts it into zips
