"""Opens a folder of images that has one folder for each class.

The layout is `root/train/<class>/*` and `root/test/<class>/*`, or
`root/<class>/*`, which a seed divides into the two splits. All may lie below
further folders, each alone in its own, and the names of splits in capitals.
"""

from collections.abc import Sequence
import dataclasses
import functools
import logging
import os
from typing import Any

import numpy as np

from protojax.data import splits as splits_lib
from protojax.datasets import (
  class_folders,
  files,
  image_check,
  layouts,
  levels,
  photo_records,
  walk,
)
from protojax.datasets.collection import Collection, joined
from protojax.datasets.files import Files
from protojax.types import UserError

_LOG = logging.getLogger(__name__)
_NAME_SPLITS = (
  "name the folders with --config.data.train=NAME and --config.data.test=NAME"
)
_NAME_LEVEL = (
  "name the folder whose folders are the classes, or the splits, with"
  " --config.data.root=DIR, --config.data.train=NAME and"
  " --config.data.test=NAME"
)
_TABLES = (".csv", ".tsv", ".xlsx")  # may hold the classes; nobody reads them

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
PREPARES = "images in folders of classes, with or without train/ and test/"
WRITES = class_folders.NAME
TRAINS = "protopnet_tfds --config.data.name=prepared"
prepare = functools.partial(photo_records.write, class_folders.read)


def load(data: Any, split: str, seed: int) -> Files:
  """Opens the training or test split that a config names."""
  return opened(
    data.root,
    data[split],
    splits=(data.train, data.test),
    test_fraction=data.test_fraction,
    seed=seed,
  )


def collect(data: Any) -> Collection:
  """Normal and defective images, in any of the layouts of `layouts`."""
  return joined(data.root, layouts.read)


def opened(
  root: str,
  split: str,
  *,
  splits: tuple[str, str] = ("train", "test"),
  test_fraction: float = 0.4,
  seed: int = 0,
) -> Files:
  """Opens one split of a folder of classes.

  Args:
    root: holds a folder for each split, with a folder for each class in it; or
      the folders of the classes.
    split: one of `splits`.
    splits: the names of the training and the test split.
    test_fraction: share of each class to test on, if `root` holds the classes
      themselves.
    seed: draws that share. A file keeps its rank in the draw when others come
      or go.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  root = os.path.expanduser(root)
  _require_folder(root)
  if split not in splits:
    raise UserError(
      f"no split {split!r} in {root}: --config.data.train and"
      f" --config.data.test name {' and '.join(map(repr, splits))}"
    )
  listed = _listed(root, splits)
  if not listed.splits:
    source = _labelled(listed, "", listed.classes(""))
    return _drawn(source, split == splits[1], test_fraction, seed)
  levels.require_same(listed.home, listed.splits, listed.folders)
  by_split = {name: listed.classes(f"{name}/") for name in listed.splits}
  chosen = listed.splits[splits.index(split)]
  return _labelled(listed, f"{chosen}/", by_split[chosen])


def of_classes(root: str) -> Files:
  """Opens all images of a folder of classes.

  Args:
    root: holds the folders of the classes.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  root = os.path.expanduser(root)
  _require_folder(root)
  listed = _listed(root, ("", ""))
  return _labelled(listed, "", listed.classes(""))


@dataclasses.dataclass(frozen=True)
class _Listed:
  """The images of a folder of classes, by names with / between folders.

  Attributes:
    home: the folder that holds the splits or classes; names are relative to it.
    splits: folders of the training and the test split, or none.
    images: all images of the splits or classes.
    folders: all folders.
    tables: tables that lie beside them.
    skipped: name -> reason of what is passed over.
  """

  home: str
  splits: tuple[str, ...]
  images: tuple[str, ...]
  folders: tuple[str, ...]
  tables: tuple[str, ...]
  skipped: dict[str, str]

  def classes(self, prefix: str) -> dict[str, list[str]]:
    """Class -> images, in a split or, if `prefix` is '', in all."""
    return levels.classes(
      self.home, prefix, self.images, self.folders, _NAME_LEVEL, self.tables
    )


def _listed(root: str, splits: tuple[str, str]) -> _Listed:
  """Finds the splits or classes below a folder and lists their images."""
  tree = walk.walk(root)
  folders = [_name(path, root) for path in tree.folders]
  everything = [_name(f, root) for f in tree.files if files.is_image(f)]
  level = levels.find(root, everything, folders, splits, _NAME_SPLITS)
  home = os.path.normpath(os.path.join(root, level.home))
  if level.home:
    _say_home(root, home)
  # What is beside the splits may be where links in them lead.
  tops = [os.path.join(home, name) for name in level.splits] or [home]
  tree = walk.walk(*tops)
  images, skipped = files.chosen(tree)
  for path, why in skipped.items():
    if path in tops:
      raise UserError(f"the split {path} {why}: the splits must differ")
  images, links = walk.once(images, home)
  beside = levels.beside(level, everything)
  return _Listed(
    home=home,
    splits=level.splits,
    images=tuple(_name(path, home) for path in images),
    folders=tuple(_name(path, home) for path in tree.folders),
    tables=tuple(
      name
      for name in sorted(os.listdir(home))
      if name.lower().endswith(_TABLES)
    ),
    skipped=beside
    | {_name(path, home): why for path, why in (*skipped.items(), *links)},
  )


@functools.cache
def _say_home(root: str, home: str) -> None:
  _LOG.warning("%s has one way down only: %s is read", root, home)


def _name(path: str, root: str) -> str:
  return walk.below(path, root).replace(os.sep, "/")


def _labelled(
  listed: _Listed, prefix: str, by_class: dict[str, list[str]]
) -> Files:
  """All readable images of a split, by class and then by name."""
  root = listed.home
  native = {c: [os.path.normpath(n) for n in by_class[c]] for c in by_class}
  bad = image_check.unreadable(root, [n for ns in native.values() for n in ns])
  for c, names in native.items():
    _require_readable(c, os.path.join(root, prefix, c), names, bad)
  good = {c: [n for n in names if n not in bad] for c, names in native.items()}
  counts = [len(names) for names in good.values()]
  first = not prefix or prefix == f"{listed.splits[0]}/"
  others = tuple(f"{name}/" for name in listed.splits if f"{name}/" != prefix)
  passed_over = {
    os.path.normpath(name): why
    for name, why in listed.skipped.items()
    # What lies beside the splits is told once, with the first.
    if name.startswith(prefix) or (first and not name.startswith(others))
  }
  return Files(
    root=root,
    names=tuple(name for names in good.values() for name in names),
    labels=np.repeat(np.arange(len(good), dtype=np.int32), counts),
    class_names=tuple(good),
    skipped=tuple((passed_over | bad).items()),
  )


def _drawn(source: Files, test: bool, fraction: float, seed: int) -> Files:
  """The images of the training or the test split, drawn from every class."""
  if not 0 < fraction < 1:
    raise UserError(
      f"--config.data.test_fraction={fraction} leaves a split empty; give a"
      " share between 0 and 1"
    )
  chosen = []
  for label, class_name in enumerate(source.class_names):
    members = np.flatnonzero(source.labels == label)
    if len(members) < 2:
      raise UserError(
        f"class {class_name!r} in {source.root} has 1 readable image and the"
        " split into train and test needs 2: add some"
      )
    names = [source.names[i] for i in members]
    drawn = splits_lib.held_out(names, fraction, seed)
    held = members[drawn]
    chosen += list(held if test else np.setdiff1d(members, held))
  return dataclasses.replace(
    source,
    names=tuple(source.names[i] for i in chosen),
    labels=source.labels[chosen],
  )


def _require_folder(root: str) -> None:
  if not root:
    raise UserError("no folder of images given: set --config.data.root=DIR")
  if not os.path.exists(root):
    raise UserError(f"no folder {root}: set --config.data.root=DIR")
  if not os.path.isdir(root):
    raise UserError(
      f"{root} is a file; --config.data.root takes the folder with the classes"
    )


def _require_readable(
  class_name: str, path: str, names: Sequence[str], bad: dict[str, str]
) -> None:
  if all(name in bad for name in names):
    raise UserError(
      f"class {class_name!r} has no readable image: all {len(names)} in {path}"
      f" are broken, such as {names[0]} ({bad[names[0]]})"
    )
