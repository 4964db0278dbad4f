"""Frames of videos, some with a mask of the classes of their pixels.

A module for each layout lists the frames; `opened` checks them and makes a
source that says which have a mask. Splits and shares keep a sequence whole, as
neighbouring frames are almost the same image.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import os
from typing import ClassVar

from jaxtyping import Bool, Int32
import numpy as np

from protojax.data import images as images_lib
from protojax.data.fields import Classes, Field, Group, Pixels
from protojax.data.source import printable
from protojax.datasets import image_check, masked_files
from protojax.datasets.mask_coding import VOID, Coding
from protojax.datasets.masked_files import Pair
from protojax.types import UserError

FIELDS: Mapping[str, Field] = {
  "image": Pixels(),
  "mask": Classes(VOID),
  "sequence": Group(),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
  """A source of frames; see `source.Source`.

  Attributes:
    root: the folder that paths are relative to.
    pairs: of the readable frames; a mask is '' where there is none, and the
      class of every pixel is then unknown.
    groups: number of the sequence of each.
    coding: what the values of the masks mean.
    skipped: (name, reason) of each frame that is left out.
  """

  root: str
  pairs: tuple[Pair, ...]
  groups: Int32[np.ndarray, " n"]
  coding: Coding
  skipped: tuple[tuple[str, str], ...]
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return len(self.pairs)

  def __getitem__(self, i: int) -> dict:
    pair = self.pairs[i]
    try:
      image = images_lib.decode(os.path.join(self.root, pair.image))
      mask = np.full(image.shape[:2], VOID, np.int32)
      if pair.mask:
        mask = self.coding.classes(os.path.join(self.root, pair.mask))
    except ValueError as error:
      raise UserError(
        f"{self.name(i)} and its mask could be read when the data were opened"
        f" and cannot be now: {error}"
      ) from error
    return {"image": image, "mask": mask, "name": self.name(i)}

  @property
  def labelled(self) -> Bool[np.ndarray, " n"]:
    """Which frames have a mask."""
    return np.array([bool(pair.mask) for pair in self.pairs])

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes; index = value of a pixel of a mask."""
    return self.coding.names

  @property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """-1 for each: a frame is of no single class."""
    return np.full(len(self.pairs), -1, np.int32)

  def name(self, i: int) -> str:
    """The path relative to `root`, as text that can be printed."""
    return printable(self.pairs[i].image)


def opened(
  root: str, pairs: Sequence[Pair], sequences: Sequence[str], coding: Coding
) -> Frames:
  """The source of a layout, every frame and every mask checked.

  Args:
    root: the folder that paths are relative to.
    pairs: in the order of the layout; a mask that is no file is none.
    sequences: name of the sequence of each.
    coding: what the values of the masks mean.

  Raises:
    UserError: there is no readable frame or no mask, or a mask is of another
      size than its frame, or has values of no class; names the first.
  """
  there = [p for p in pairs if os.path.isfile(os.path.join(root, p.mask))]
  if not there:
    raise UserError(
      f"none of the {len(pairs)} frames in {root} has a mask, such as"
      f" {printable(pairs[0].mask)}: add masks of some of them"
      if pairs
      else f"{root} holds no frames"
    )
  known = set(masked_files.opened(root, there, coding).pairs)
  bad = image_check.unreadable(root, [pair.image for pair in pairs])
  kept = [i for i, pair in enumerate(pairs) if pair.image not in bad]
  _, numbers = np.unique([sequences[i] for i in kept], return_inverse=True)
  return Frames(
    root,
    tuple(
      pairs[i] if pairs[i] in known else pairs[i]._replace(mask="")
      for i in kept
    ),
    numbers.astype(np.int32),
    coding,
    tuple(bad.items()),
  )
