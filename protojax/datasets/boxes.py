"""Windows of photographs with boxes of things: images with concepts in places.

`root/images/*` holds the photographs. `root/boxes.csv` has a row for each
thing: the columns filename, xmin, xmax, ymin, ymax (pixels) and one more, of
any name, for the kind of thing. Whole photographs tend to show every kind, so
they are cut into windows. A kind is a concept. The class of a window is the
first kind of a list that it shows; a list begins with the rare kinds.
Photographs, not windows, are divided into training and test.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import os
from typing import Any, NamedTuple

from jaxtyping import Bool, Int32, UInt8
import numpy as np

from protojax import csv_files, ranges
from protojax.data import images as images_lib
from protojax.data import splits as splits_lib
from protojax.data.places import Places
from protojax.data.source import printable
from protojax.datasets import files, image_check, truths, walk
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True

# The class of a window that shows no kind of the list.
OTHER = "none of them"
# The share of a thing's box that a window must hold to show the thing.
_VISIBLE = 0.25
_FARTHEST = 1 << 30  # pixels: more than any image has, and an int32
_EDGES = ("xmin", "ymin", "xmax", "ymax")


class _Thing(NamedTuple):
  """One row of the list: a kind of thing, and its box in pixels."""

  kind: str
  left: int
  top: int
  right: int
  bottom: int


class _Window(NamedTuple):
  """A window of a photograph, in pixels."""

  photograph: str
  left: int
  top: int
  width: int
  height: int


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
  """A split of windows; see `source.Source` and `concepts.Conceptual`.

  Attributes:
    root: the folder of the photographs.
    windows: photograph and box of each window.
    concept_names: the kinds of things; index = number.
    concepts: True for the kinds that each window shows.
    found: boxes of the things in each window.
    labels: class of each.
    class_names: index = label.
    skipped: (name, reason) of each photograph and each row that cannot be used.
  """

  root: str
  windows: tuple[_Window, ...]
  concept_names: tuple[str, ...]
  concepts: Bool[np.ndarray, "n c"]
  found: tuple[Places, ...]
  labels: Int32[np.ndarray, " n"]
  class_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...]

  def __len__(self) -> int:
    return len(self.windows)

  def __getitem__(self, i: int) -> dict:
    w = self.windows[i]
    whole = _decoded(os.path.join(self.root, w.photograph))
    image = whole[w.top : w.top + w.height, w.left : w.left + w.width]
    return {"image": image, "label": int(self.labels[i]), "name": self.name(i)}

  def name(self, i: int) -> str:
    """The photograph and the left upper corner of the window."""
    w = self.windows[i]
    return f"{printable(w.photograph)} at {w.left},{w.top}"

  def places(self, i: int) -> Places:
    """Boxes of the things, also of those that show too little to count."""
    return self.found[i]


def load(data: Any, split: str, seed: int) -> Windows:
  """Opens the training or test split that a config names."""
  return opened(
    data.root,
    data[split],
    concepts=data.concepts,
    task=data.task,
    side=data.side,
    splits=(data.train, data.test),
    test_fraction=data.test_fraction,
    seed=seed,
  )


def opened(
  root: str,
  split: str,
  *,
  concepts: Sequence[str],
  task: Sequence[str],
  side: int,
  splits: tuple[str, str] = ("train", "test"),
  test_fraction: float = 0.4,
  seed: int = 0,
) -> Windows:
  """Opens one split of the windows.

  Args:
    root: the folder that holds images/ and boxes.csv.
    split: one of `splits`.
    concepts: the kinds of things; index = number.
    task: some of the kinds; a window's class is the first that it shows.
    side: of a window, in pixels. A photograph is covered by as few windows as
      do, spread evenly; a smaller photograph is one window.
    splits: names of the training and the test split.
    test_fraction: share of the photographs to test on.
    seed: draws that share.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  ranges.SIDE.require("data.side", side)
  root = os.path.expanduser(root)
  things, bad_rows = _listed(root)
  _require_kinds(root, concepts, task, things)
  if not 0 < test_fraction < 1:
    raise UserError(
      f"--config.data.test_fraction={test_fraction} leaves a split empty; give"
      " a share between 0 and 1"
    )
  place = os.path.join(root, "images")
  listed, passed_over = files.below(place)
  listed, links = walk.once(listed, place)
  paths = [os.path.relpath(path, place) for path in listed]
  bad = image_check.unreadable(place, paths)
  paths = [path for path in paths if path not in bad]
  if len(paths) < 2:
    raise UserError(
      f"{len(paths)} readable images in {place}, and the split into train and"
      " test needs 2: add some"
    )
  held = set(splits_lib.held_out(paths, test_fraction, seed))
  test = split == splits[1]
  chosen = [path for i, path in enumerate(paths) if (i in held) == test]
  windows = [window for path in chosen for window in _cut(place, path, side)]
  numbers = {name: number for number, name in enumerate(concepts)}
  seen = [
    _seen(window, things.get(window.photograph, ()), numbers)
    for window in windows
  ]
  present = np.stack([shown for shown, _ in seen])
  asked = present[:, [numbers[name] for name in task]]
  labels = np.where(asked.any(axis=1), asked.argmax(axis=1), len(task))
  lost = sorted(set(things) - set(paths) - set(bad))
  return Windows(
    root=place,
    windows=tuple(windows),
    concept_names=tuple(concepts),
    concepts=present,
    found=tuple(where for _, where in seen),
    labels=labels.astype(np.int32),
    class_names=(*task, OTHER),
    skipped=(
      *(
        (os.path.relpath(path, place), why)
        for path, why in (*passed_over.items(), *links)
      ),
      *bad.items(),
      *bad_rows,
      *((name, "it has boxes, but is not in images/") for name in lost),
    ),
  )


def _listed(root: str) -> tuple[dict[str, list[_Thing]], list[tuple[str, str]]]:
  """Photograph -> its things, and (row, reason) of rows without a box."""
  if not root:
    raise UserError("no folder of images given: set --config.data.root=DIR")
  path = os.path.join(root, "boxes.csv")
  try:
    table = csv_files.read(path)
  except UserError as error:
    raise UserError(
      f"{error}: --config.data.root takes a folder with images/ and boxes.csv"
    ) from error
  kind = _kind_column(path, table.columns)
  things, bad = {}, []
  for line, row in table.rows:
    why, thing = _thing(row, kind)
    if thing is None:
      bad.append((f"boxes.csv, line {line}", why))
    else:
      things.setdefault(row["filename"], []).append(thing)
  return things, bad


def _thing(row: Mapping[str, str], kind: str) -> tuple[str, _Thing | None]:
  """A row's thing, or why it has none."""
  if len(row) < len(_EDGES) + 2:
    return "it has too few columns", None
  try:
    edges = [int(row[edge]) for edge in _EDGES]
  except ValueError:
    edges = []
  if not edges or max(map(abs, edges)) > _FARTHEST:
    return "its box is not of numbers of pixels", None
  if edges[0] >= edges[2] or edges[1] >= edges[3]:
    return "its box has no area", None
  return "", _Thing(row[kind], *edges)


def _kind_column(path: str, names: Sequence[str]) -> str:
  more = [name for name in names if name not in ("filename", *_EDGES)]
  if len(more) != 1 or len(names) != 6:
    raise UserError(
      f"{path} has the columns {', '.join(names) or 'none'}; expected filename,"
      f" {', '.join(_EDGES)} and one that says what is in the box"
    )
  return more[0]


def _require_kinds(
  root: str,
  concepts: Sequence[str],
  task: Sequence[str],
  things: Mapping[str, Sequence[_Thing]],
) -> None:
  kinds = {thing.kind for listed in things.values() for thing in listed}
  for key, wanted, known in (
    ("concepts", concepts, kinds),
    ("task", task, set(concepts)),
  ):
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
      raise UserError(
        f"--config.data.{key} is {', '.join(wanted) or 'empty'}; choose from"
        f" {', '.join(sorted(known))} ({root})"
      )


def _cut(place: str, path: str, side: int) -> list[_Window]:
  """The fewest windows that cover a photograph, spread evenly."""
  height, width = truths.size(os.path.join(place, path))
  rows, columns = min(side, height), min(side, width)
  return [
    _Window(path, int(left), int(top), columns, rows)
    for top in np.linspace(0, height - rows, -(-height // rows)).round()
    for left in np.linspace(0, width - columns, -(-width // columns)).round()
  ]


def _seen(
  window: _Window, things: Sequence[_Thing], numbers: Mapping[str, int]
) -> tuple[Bool[np.ndarray, " c"], Places]:
  """True for each concept of a window, and the boxes clipped to it."""
  known = [thing for thing in things if thing.kind in numbers]
  concepts = np.array([numbers[thing.kind] for thing in known], np.int64)
  edges = np.array([thing[1:] for thing in known], np.float64).reshape(-1, 4)
  corner, size = [window.left, window.top], [window.width, window.height]
  shares = (edges.reshape(-1, 2, 2) - corner) / size
  area = np.prod(shares[:, 1] - shares[:, 0], axis=1)
  left, top, right, bottom = np.clip(shares, 0, 1).reshape(-1, 4).T
  boxes = np.stack([top, left, bottom, right], axis=1)
  within = (right - left) * (bottom - top)
  shown = np.isin(np.arange(len(numbers)), concepts[within >= _VISIBLE * area])
  inside = within > 0
  return shown, Places(concepts[inside], boxes[inside])


@functools.lru_cache(maxsize=16)
def _decoded(path: str) -> UInt8[np.ndarray, "H W 3"]:
  """A photograph; its windows are read one after the other."""
  try:
    return images_lib.decode(path)
  except ValueError as error:
    raise UserError(
      f"{path} was readable when the data were opened and is not now: {error}"
    ) from error
