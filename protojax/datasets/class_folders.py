"""Lists the images of an archive that has one folder for each class.

The layout is that of `folder`: train/<class>/* and test/<class>/*, or
<class>/*; all may lie below further folders, each alone in its own. Without
splits, 40 % of each class become test images. `photo_records` writes what is
listed.
"""

from protojax.data import splits
from protojax.data.source import printable
from protojax.datasets import files as files_lib
from protojax.datasets import levels, walk
from protojax.datasets.archive import Archive
from protojax.datasets.photo_records import Listing, Photo
from protojax.types import UserError

NAME = "prepared"  # of the data set that is written
_SPLITS = ("train", "test")
_RENAME_SPLITS = "rename the folders of the splits to train and test"
_GIVE_LEVEL = (
  "give with --source the folder that holds the folders of the classes, or"
  " train and test"
)
_TEST_FRACTION = 0.4
_SEED = 0


def read(files: Archive) -> Listing:
  """Lists the images of all classes.

  Raises:
    UserError: there is no class, one has no image, or the splits differ in
      their classes.
  """
  visible = sorted(n for n in files.names if _is_visible(n))
  images = [name for name in visible if files_lib.is_image(name)]
  folders = [f for f in files.folders if _is_visible(f)]
  level = levels.find(files.title, images, folders, _SPLITS, _RENAME_SPLITS)
  root = level.home
  if level.splits:
    homes = [f"{root}{name}" for name in level.splits]
    levels.require_same(files.title, homes, folders)
    by_split = {
      split: levels.classes(
        files.title, f"{root}{name}/", images, folders, _GIVE_LEVEL
      )
      for split, name in zip(_SPLITS, level.splits, strict=True)
    }
  else:
    classes = levels.classes(files.title, root, images, folders, _GIVE_LEVEL)
    by_split = _drawn(files, classes, root)
  unread = files_lib.unread(visible)
  return Listing(
    name=NAME,
    class_names=tuple(by_split["train"]),
    photos=tuple(
      Photo(path, path.removeprefix(root), label, split)
      for split, classes in by_split.items()
      for label, paths in enumerate(classes.values())
      for path in paths
    ),
    passed_over=levels.beside(level, images)
    | {name.removeprefix(root): why for name, why in unread.items()},
  )


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


def _is_visible(path: str) -> bool:
  return not any(map(walk.is_hidden, path.split("/")))
