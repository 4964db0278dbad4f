"""Any bags of features, in a stream of tasks: a folder of *.npz or *.h5.

Either a list says what each bag is (`bag_lists`; bags.csv in the folder, or
`data.list`), or the folders do:

  ROOT/SPLIT/TASK/CLASS/BAG.npz

Each task has two classes. The negative one is that named `data.negative`; if a
task has no such class, it is the first one by name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protojax.data.source import printable
from protojax.datasets import bag_files, bag_lists, bag_source, slide_bags, walk
from protojax.datasets.bag_files import Files
from protojax.datasets.bag_lists import Row
from protojax.datasets.bag_source import Bags
from protojax.types import UserError

# The folder data.root must be given.
FOLDERS = True
_LIST = "bags.csv"


def load(data: Any, split: str, seed: int) -> Bags:
  """The bags of the "train" or the "test" split.

  Args:
    data: `root`; `train` and `test`, names of the splits; `tasks`, in order
      (none: all, by name); `negative`, name of the negative class; `list`, a
      file or a folder of lists ("": bags.csv in the root, or the folders);
      `test_fraction`, the share that is drawn for testing where a list says no
      split.
    split: of the bags.
    seed: of the draw.

  Raises:
    UserError: the bags are not there, or not as expected.
  """
  if not data.root:
    raise UserError(
      "--config.data.root is empty: give a folder of bags, with"
      f" {_LIST}, or with SPLIT/TASK/CLASS/BAG.npz"
    )
  root = Path(data.root).expanduser()
  paths = _paths(root)
  rows, place = _rows(root, paths, data, seed)
  tasks, classes, notes = _tasks(rows, data, place)
  wanted = data.test if split == "test" else data.train
  chosen = [row for row in rows if row.split == wanted and row.task in classes]
  if not chosen:
    known = ", ".join(sorted({row.split for row in rows}))
    raise UserError(
      f"{place} has no bag of the split {wanted!r}; there are: {known}"
    )
  chosen.sort(key=lambda row: (tasks.index(row.task), row.bag))
  found = _found(root, paths, chosen, place)
  labels = [
    2 * tasks.index(row.task) + classes[row.task].index(row.label)
    for row in chosen
  ]
  reader = Files(root, found)
  made = slide_bags.index(root)
  return Bags(
    slide_bags.Bags(reader, made) if made else reader,
    tasks,
    bag_source.class_names(tasks, classes),
    np.array(labels, np.int32),
    reader.channels,
    tuple(notes),
    embedder=made,
  )


def _paths(root: Path) -> list[Path]:
  if not root.is_dir():
    raise UserError(f"--config.data.root={root} is no folder")
  found = [Path(p) for p in walk.walk(str(root)).files]
  found = [path for path in found if bag_files.is_bag(path)]
  if not found:
    raise UserError(
      f"{root} has no bag: expected files {', '.join(bag_files.SUFFIXES)}"
    )
  return found


def _rows(
  root: Path, paths: Sequence[Path], data: Any, seed: int
) -> tuple[list[Row], Path]:
  """What each bag is, and where that is said."""
  listed = Path(data.list).expanduser() if data.list else root / _LIST
  if data.list or listed.is_file():
    rows = bag_lists.read(listed, [path.name for path in paths])
    return bag_lists.drawn(rows, data.test_fraction, seed), listed
  rows = []
  for path in paths:
    inside = path.relative_to(root).parts
    if len(inside) != 4:
      raise UserError(
        f"{path} does not lie in SPLIT/TASK/CLASS of {root}: move it there, or"
        f" write {_LIST} (bag,task,label,split)"
      )
    split, task, label, _ = inside
    rows.append(Row(str(path.relative_to(root)), task, label, split, path.stem))
  return rows, root


def _tasks(
  rows: Sequence[Row], data: Any, place: Path
) -> tuple[tuple[str, ...], dict[str, tuple[str, str]], list[str]]:
  """The tasks in order, the two classes of each, and notes."""
  there = sorted({row.task for row in rows})
  tasks = tuple(data.tasks) or tuple(there)
  bag_source.require_tasks(tasks)
  classes, notes = {}, []
  for task in tasks:
    names = sorted({row.label for row in rows if row.task == task})
    if len(names) != 2:
      held = ", ".join(names) or "none"
      raise UserError(
        f"the task {task!r} of {place} has the classes {held}; expected two"
        f" that differ. Tasks there: {', '.join(there)}"
      )
    negative = data.negative if data.negative in names else names[0]
    if negative != data.negative:
      notes.append(
        f"{task} has no class {data.negative!r}: {names[0]} is taken for the"
        f" negative class, {names[1]} for the positive one"
      )
    (positive,) = (name for name in names if name != negative)
    classes[task] = negative, positive
  return tasks, classes, notes


def _found(
  root: Path, paths: Sequence[Path], rows: Sequence[Row], place: Path
) -> list[Path]:
  """The file of each row: by its path, or by its name alone."""
  by_path = {str(path.relative_to(root)): path for path in paths}
  by_path |= {str(Path(name).with_suffix("")): p for name, p in by_path.items()}
  by_name: dict[str, Path | None] = {}
  for path in paths:
    by_name[path.stem] = None if path.stem in by_name else path
  found = []
  for row in rows:
    path = by_path.get(row.bag) or by_name.get(Path(row.bag).name)
    path = path or by_name.get(Path(row.bag).stem)
    if path is None:
      lack = "twice" if Path(row.bag).stem in by_name else "not there"
      raise UserError(
        f"the bag {printable(row.bag)} of {place} is {lack} below {root}"
      )
    found.append(path)
  return found
