"""Image files with several labels each, in the layouts of several data sets.

A module for each layout says which files there are and what is known of each;
`opened` checks them and makes a source.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import logging
import os
from typing import Any

from jaxtyping import Int
import numpy as np

from protojax.data import images as images_lib
from protojax.data.fields import Boxes, Field, Labels, Pixels
from protojax.data.source import printable
from protojax.datasets import image_check
from protojax.types import UserError

_LOG = logging.getLogger(__name__)
_SHOWN = 3  # names in a message


@dataclasses.dataclass(frozen=True)
class Tagged:
  """What a layout says of one image.

  Attributes:
    file: path relative to the root.
    tags: of each label: 1 it is there, 0 it is not, -1 nobody knows.
    boxes: of objects, (top, left, bottom, right) in shares of the image, and
      the label of each.
  """

  file: str
  tags: Sequence[int]
  boxes: tuple[tuple[float, float, float, float, int], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class TaggedFiles:
  """A source of image files; see `source.Source`.

  Attributes:
    root: the folder the names are relative to.
    rows: of the readable images.
    class_names: the labels, in the order of `Tagged.tags`.
    skipped: (name, reason) of each image that is left out.
    boxed: whether the layout knows boxes.
  """

  root: str
  rows: tuple[Tagged, ...]
  class_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...]
  boxed: bool = False

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, i: int) -> dict:
    path = os.path.join(self.root, self.rows[i].file)
    try:
      image = images_lib.decode(path)
    except ValueError as error:
      raise UserError(
        f"{path} was readable when the data were opened and is not now: {error}"
      ) from error
    found = {"image": image, "labels": self.tags[i], "name": self.name(i)}
    if self.boxed:
      found["boxes"] = self._boxes(i)
    return found

  @functools.cached_property
  def fields(self) -> Mapping[str, Field]:
    """Image, labels and, if they are known, boxes."""
    found: dict[str, Field] = {
      "image": Pixels(),
      "labels": Labels(len(self.class_names)),
    }
    if self.boxed:
      found["boxes"] = Boxes(max(1, *(len(row.boxes) for row in self.rows)))
    return found

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: an image is of no single class."""
    return np.full(len(self.rows), -1, np.int32)

  @functools.cached_property
  def tags(self) -> Int[np.ndarray, "n k"]:
    """Of each image and label: 1, 0 or -1."""
    return np.array([row.tags for row in self.rows], np.int32)

  def name(self, i: int) -> str:
    """The path relative to `root`, as text that can be printed."""
    return printable(self.rows[i].file)

  def _boxes(self, i: int) -> dict[str, Any]:
    rows = self.rows[i].boxes
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    classes = np.array([row[4] for row in rows], np.int32)
    return {"boxes": boxes, "classes": classes}


def opened(
  root: str,
  rows: Sequence[Tagged],
  class_names: Sequence[str],
  boxed: bool = False,
) -> TaggedFiles:
  """The source of a layout; leaves out what cannot be read or has no label.

  Args:
    root: the folder that the files are relative to.
    rows: what the layout says, in its order.
    class_names: its labels.
    boxed: whether it knows boxes.

  Raises:
    UserError: nothing is left, or a file is listed twice.
  """
  _require_once(root, [row.file for row in rows])
  skipped = {
    row.file: "no label of it is known"
    for row in rows
    if all(tag < 0 for tag in row.tags)
  }
  wanted = [row for row in rows if row.file not in skipped]
  there = [r for r in wanted if os.path.exists(os.path.join(root, r.file))]
  gone = {row.file for row in wanted} - {row.file for row in there}
  if wanted and not there:
    raise UserError(
      f"none of the {len(wanted):,} images that are listed is in {root}, such"
      f" as {wanted[0].file}: names are relative to that folder"
    )
  skipped |= dict.fromkeys(sorted(gone), "it is listed and is not there")
  skipped |= image_check.unreadable(root, [row.file for row in there])
  kept = tuple(row for row in there if row.file not in skipped)
  if not kept:
    first = next(iter(skipped.items()), ("no image", "nothing is listed"))
    raise UserError(f"no readable image in {root}: {first[0]}: {first[1]}")
  without = sum(not any(tag == 1 for tag in row.tags) for row in kept)
  if without:
    note(
      f"{without:,} of {len(kept):,} images in {root} have none of the labels:"
      " they say what is not there, and cost no transport"
    )
  return TaggedFiles(
    root, kept, tuple(class_names), tuple(skipped.items()), boxed
  )


@functools.cache
def note(text: str) -> None:
  """Logs a remark on the data, once."""
  _LOG.warning("note: %s", text)


def share(
  box: Sequence[float], width: float, height: float
) -> tuple[float, float, float, float] | None:
  """A box (left, top, right, bottom) in pixels, as shares; None if empty."""
  left, right = (min(max(x / width, 0.0), 1.0) for x in (box[0], box[2]))
  top, bottom = (min(max(y / height, 0.0), 1.0) for y in (box[1], box[3]))
  return (top, left, bottom, right) if top < bottom and left < right else None


def split_of(data: Any, split: str, known: Mapping[str, str]) -> str:
  """What a config's split is called in the files of a layout.

  Raises:
    UserError: the layout has no such split.
  """
  name = data[split]
  if name not in known:
    raise UserError(
      f"--config.data.{split}={name!r}: there are {', '.join(known)}"
    )
  return known[name]


def _require_once(root: str, files: Sequence[str]) -> None:
  seen: set[str] = set()
  twice = [f for f in files if f in seen or seen.add(f)]
  if twice:
    raise UserError(
      f"{len(twice)} images of {root} are listed twice, such as"
      f" {', '.join(twice[:_SHOWN])}: give each one line"
    )


def boxes_of(
  found: Sequence[tuple[Sequence[float], int]], width: float, height: float
) -> tuple[tuple[float, float, float, float, int], ...]:
  """Boxes in pixels with their labels, as `Tagged` has them; empty ones go."""
  made = ((share(box, width, height), label) for box, label in found)
  return tuple((*box, label) for box, label in made if box is not None)
