"""Sources of normal and defective images: normal ones to train, both to test.

`open_split` opens a collection and draws one of its splits. `data.stream` makes
batches of it, as of any source. Class 0 is normal; the others are the kinds of
defects.
"""

from collections.abc import Sequence
import dataclasses
import difflib
from typing import Any

from jaxtyping import Bool, Int32
import numpy as np

from protojax import datasets
from protojax.data import splits
from protojax.data.source import printable
from protojax.datasets import shots
from protojax.datasets.collection import NORMAL, Collection, Entry, passed_over
from protojax.types import UserError

SPLITS = ("train", "calibration", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class Anomalies:
  """A source of normal and defective images; see `source.Source`.

  Attributes:
    collection: holds the images.
    rows: row in the collection of each image of this source.
    labels: 0 is normal, the others are kinds of defects.
    class_names: `NORMAL` and the kinds in the chosen categories, in any split.
    categories: category of each image, an index of `category_names`.
    category_names: the chosen categories.
    skipped: (name, reason) of each image that could not be read.
    light: (gain, offset) of the pixels, in grey levels; see `shifted`.
  """

  collection: Collection
  rows: Int32[np.ndarray, "n"]
  labels: Int32[np.ndarray, "n"]
  class_names: tuple[str, ...]
  categories: Int32[np.ndarray, "n"]
  category_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...]
  light: tuple[float, float] = (1.0, 0.0)

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, i: int) -> dict:
    image = self.collection.image(int(self.rows[i]))
    gain, offset = self.light
    if self.light != (1, 0):
      image = np.clip(np.rint(gain * image + offset), 0, 255).astype(np.uint8)
    return {"image": image, "label": int(self.labels[i]), "name": self.name(i)}

  def name(self, i: int) -> str:
    """Name of an image that can be printed."""
    return printable(self.collection.entries[self.rows[i]].name)

  @property
  def has_truth(self) -> bool:
    """True if the defective pixels are known, not only the defective images."""
    return self.collection.has_truth

  def truth(self, i: int) -> Bool[np.ndarray, "H W"]:
    """Mask of the defective pixels, of the image's own size; empty if normal.

    Raises:
      ValueError: the image is defective and `has_truth` is False.
    """
    if self.labels[i] and not self.has_truth:
      raise ValueError(f"{self.name(i)}: its defective pixels are not known")
    return self.collection.truth(int(self.rows[i]))


def open_split(config_data: Any, split: str, seed: int = 0) -> Anomalies:
  """Opens one split of a config's data set.

  Args:
    config_data: `name` (of a module with `collect`; see `protojax.datasets`),
      `root` (its folder, or several joined by commas), `category` ('' is all,
      or names joined by commas), `shots` (number of normal training images of
      each category, each as 22 copies; 0 takes all images, without copies),
      `test_fraction` (share of the normal images to test on, if the data set
      does not say), `calibration_fraction` (share of the normal training images
      to hold out, if the data set does not say; 0: none) and `split_seed`.
    split: "train" (normal images), "calibration" (normal images held out of
      training; with `shots`, or if none are held out, those of "train" without
      copies) or "test".
    seed: of the run; draws if `split_seed` is negative. An image keeps its rank
      in the draw when others come or go.

  Raises:
    UserError: the data are not there, or not as expected.
  """
  if split not in SPLITS:
    raise UserError(f"split {split!r}: use {', '.join(SPLITS)}")
  c = config_data
  _require_numbers(c)
  collection = datasets.find(c.name, "collect").collect(c)
  entries = collection.entries
  wanted = _wanted(collection, c.category)
  members: dict[str, list[int]] = {category: [] for category in wanted}
  for row, entry in enumerate(entries):
    if entry.category in members:
      members[entry.category].append(row)
  bad = collection.broken([r for rows in members.values() for r in rows])
  drawn: list[int] = []
  kinds: set[str] = set()
  for category, rows in members.items():
    where = f"category {category!r} of {collection.title}"
    _require_normal(where, entries, rows, bad)
    rows = [row for row in rows if row not in bad]
    drawn += _splits(where, entries, rows, c, seed)[split]
    kinds |= {entries[row].kind for row in rows}
  if not drawn:
    raise UserError(f"{collection.title} has no readable {split} image")
  collection.require_truth([r for r in drawn if entries[r].kind != NORMAL])
  class_names = (NORMAL, *sorted(kinds - {NORMAL}))
  unread = ((entries[row].name, why) for row, why in bad.items())
  skipped = tuple(
    (printable(name), why) for name, why in (*passed_over(collection), *unread)
  )
  if c.shots and split == "train":
    collection = shots.Copies(collection, tuple(drawn))
    drawn = list(range(len(collection.entries)))
  return _source(collection, drawn, class_names, wanted, skipped)


def shifted(source: Anomalies, gain: float, offset: float) -> Anomalies:
  """The same images in another light: gain x pixel + offset, in grey levels."""
  return dataclasses.replace(source, light=(float(gain), float(offset)))


def _wanted(collection: Collection, chosen: str) -> tuple[str, ...]:
  """The categories that were asked for, in the collection's order."""
  known = tuple(dict.fromkeys(entry.category for entry in collection.entries))
  asked = [name.strip() for name in chosen.split(",") if name.strip()]
  if not asked:
    return known
  found: set[str] = set()
  for name in asked:
    # With several data sets, "bottle" means this category of each.
    own = {k for k in known if name in (k, k.rpartition("/")[2])}
    if not own:
      near = difflib.get_close_matches(name, known, 3) or known[:20]
      raise UserError(
        f"no category {name!r} in {collection.title}; it has"
        f" {', '.join(near)}{', ...' if len(near) < len(known) else ''}"
      )
    found |= own
  return tuple(name for name in known if name in found)


def _splits(
  where: str, entries: Sequence[Entry], rows: Sequence[int], c: Any, seed: int
) -> dict[str, list[int]]:
  """Rows of one category by split; drawn if the data set does not say."""
  seed = seed if c.split_seed < 0 else c.split_seed

  def ranked(purpose: str, some: list[int]) -> list[int]:
    names = {r: f"{purpose}\0{entries[r].name}" for r in some}
    return sorted(some, key=lambda r: splits.draw(seed, names[r]))

  given = {s: [r for r in rows if entries[r].split == s] for s in ("", *SPLITS)}
  train, held_out, test = (given[split] for split in SPLITS)
  if given[""]:
    order = ranked("test", given[""])
    count = _share(where, "test", len(order), c.test_fraction)
    test, train = test + order[:count], train + order[count:]
  if c.shots:
    if len(train) < c.shots:
      raise UserError(
        f"{where} has {len(train)} normal training images, fewer than"
        f" --config.data.shots={c.shots}"
      )
    train = held_out = ranked("shots", train)[: c.shots]
  elif not held_out and not c.calibration_fraction:
    held_out = train
  elif not held_out:
    order = ranked("calibration", train)
    count = _share(where, "calibration", len(order), c.calibration_fraction)
    held_out, train = order[:count], order[count:]
  found = zip(SPLITS, (train, held_out, test), strict=True)
  return {split: sorted(chosen) for split, chosen in found}


def _share(where: str, split: str, count: int, fraction: float) -> int:
  """How many of `count` images go to a split: at least one, never all."""
  if count < 2:
    raise UserError(
      f"{where} has too few normal images: {count} to divide over training and"
      f" {split}; add some"
    )
  return min(max(round(count * fraction), 1), count - 1)


def _source(
  collection: Collection,
  rows: Sequence[int],
  class_names: tuple[str, ...],
  category_names: tuple[str, ...],
  skipped: tuple[tuple[str, str], ...],
) -> Anomalies:
  entries = [collection.entries[row] for row in rows]
  labels = [class_names.index(entry.kind) for entry in entries]
  categories = [category_names.index(entry.category) for entry in entries]
  return Anomalies(
    collection=collection,
    rows=np.asarray(rows, np.int32),
    labels=np.asarray(labels, np.int32),
    class_names=tuple(printable(name) for name in class_names),
    categories=np.asarray(categories, np.int32),
    category_names=tuple(printable(name) for name in category_names),
    skipped=skipped,
  )


def _require_numbers(c: Any) -> None:
  for key in ("test_fraction", "calibration_fraction"):
    none = key == "calibration_fraction" and c[key] == 0
    if not (none or 0 < c[key] < 1):
      raise UserError(
        f"--config.data.{key}={c[key]} leaves a split empty; give a share"
        " between 0 and 1"
      )
  if c.shots < 0:
    raise UserError(
      f"--config.data.shots={c.shots}: give a number of images, or 0 for all"
    )


def _require_normal(
  where: str, entries: Sequence[Entry], rows: Sequence[int], bad: Any
) -> None:
  normal = [
    row
    for row in rows
    if entries[row].kind == NORMAL and entries[row].split in ("", "train")
  ]
  if not normal:
    raise UserError(
      f"{where} has no normal training images; add some: only they are"
      " trained on"
    )
  if all(row in bad for row in normal):
    raise UserError(
      f"{where} has no readable normal training image: all {len(normal)} are"
      f" broken, such as {entries[normal[0]].name} ({bad[normal[0]]})"
    )
