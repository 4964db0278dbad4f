"""Opens a folder of images that has one folder for each class.

The layout is `root/train/<class>/*` and `root/test/<class>/*`, or
`root/<class>/*`, which a seed divides into the two splits.
"""

from collections.abc import Sequence
import dataclasses
import functools
import os
from typing import Any

import numpy as np

from protojax.data import splits as splits_lib
from protojax.datasets import (
  class_folders,
  files,
  image_check,
  layouts,
  photo_records,
)
from protojax.datasets.collection import Collection, joined
from protojax.datasets.files import Files
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
PREPARES = "images in folders of classes, with or without train/ and test/"
WRITES = class_folders.NAME
TRAINS = "protopnet_tfds.py --config.data.name=prepared"
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
  if _has_splits(root, splits):
    _require_same_classes(root, splits)
    return _labelled(root, split)
  return _drawn(_labelled(root), split == splits[1], test_fraction, seed)


def _has_splits(root: str, splits: tuple[str, str]) -> bool:
  present = files.folders(root)
  if all(s in present for s in splits):
    return True
  for found, missing in (splits, splits[::-1]):
    # A folder "train" with images and no folders may be a class.
    if found in present and files.folders(os.path.join(root, found)):
      raise UserError(
        f"{root} has {found}/ but no {missing}/: add it, or name the folders"
        " with --config.data.train=NAME and --config.data.test=NAME"
      )
  return False


def _labelled(root: str, prefix: str = "") -> Files:
  """All readable images below `root/prefix`, by class and then by name."""
  where = os.path.join(root, prefix)
  by_class = {
    c: [os.path.relpath(f, root) for f in files.below(os.path.join(where, c))]
    for c in files.folders(where)
  }
  if not by_class:
    raise UserError(
      f"no class folder in {where}: expected {os.path.join(where, '<class>')}/"
      " with images in it"
    )
  bad = image_check.unreadable(
    root, [n for names in by_class.values() for n in names]
  )
  for c, names in by_class.items():
    _require_images(c, os.path.join(where, c), names, bad)
  good = {
    c: [n for n in names if n not in bad] for c, names in by_class.items()
  }
  counts = [len(names) for names in good.values()]
  return Files(
    root=root,
    names=tuple(name for names in good.values() for name in names),
    labels=np.repeat(np.arange(len(good), dtype=np.int32), counts),
    class_names=tuple(good),
    skipped=tuple(bad.items()),
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


def _require_same_classes(root: str, splits: Sequence[str]) -> None:
  train, test = (set(files.folders(os.path.join(root, s))) for s in splits)
  only = [
    f"only in {split}: {', '.join(sorted(names))}"
    for split, names in zip(splits, (train - test, test - train), strict=True)
    if names
  ]
  if only:
    raise UserError(
      f"the splits of {root} differ in classes ({'; '.join(only)}); each class"
      " needs a folder with images in both"
    )


def _require_images(
  class_name: str, path: str, names: Sequence[str], bad: dict[str, str]
) -> None:
  if not names:
    raise UserError(
      f"class {class_name!r} has no image: add images to {path} or remove it"
    )
  if all(name in bad for name in names):
    raise UserError(
      f"class {class_name!r} has no readable image: all {len(names)} in {path}"
      f" are broken, such as {names[0]} ({bad[names[0]]})"
    )
