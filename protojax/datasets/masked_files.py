"""Image files, each with a mask file of the classes of its pixels.

A module for each layout says which files belong together and what the values of
the masks mean; `opened` checks them and makes a source.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import os
from typing import ClassVar, NamedTuple

from jaxtyping import Int
import numpy as np

from protojax.data import images as images_lib
from protojax.data.fields import Classes, Field, Pixels
from protojax.data.source import printable
from protojax.datasets import image_check, mask_coding, part_masks, walk
from protojax.datasets.mask_coding import VOID, Coding
from protojax.types import UserError

FIELDS: Mapping[str, Field] = {"image": Pixels(), "mask": Classes(VOID)}
# Suffixes of masks: what saves colours inexactly is none.
_MASKS = (".png", ".bmp", ".tif", ".tiff")


class Pair(NamedTuple):
  """Paths of an image and of its mask, relative to the root."""

  image: str
  mask: str


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedFiles:
  """A source of images with masks; see `source.Source`.

  Attributes:
    root: the folder that paths are relative to.
    pairs: of the readable images.
    coding: what the values of the masks mean.
    skipped: (name, reason) of each image that is left out.
    parts: path of the mask of parts of each image, '' where there is none.
  """

  root: str
  pairs: tuple[Pair, ...]
  coding: Coding
  skipped: tuple[tuple[str, str], ...]
  parts: tuple[str, ...] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return len(self.pairs)

  def __getitem__(self, i: int) -> dict:
    pair = self.pairs[i]
    try:
      image = images_lib.decode(os.path.join(self.root, pair.image))
      mask = self.coding.classes(os.path.join(self.root, pair.mask))
    except ValueError as error:
      raise UserError(
        f"{self.name(i)} and its mask could be read when the data were opened"
        f" and cannot be now: {error}"
      ) from error
    return {"image": image, "mask": mask, "name": self.name(i)}

  def part_plane(self, i: int) -> Int[np.ndarray, "H W"] | None:
    """The part of each pixel, 0 for none; None if there is no such mask.

    Raises:
      UserError: see `part_masks.read`.
    """
    if not self.parts or not self.parts[i]:
      return None
    shape = mask_coding.size(os.path.join(self.root, self.pairs[i].image))
    return part_masks.read(os.path.join(self.root, self.parts[i]), shape)

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes; index = value of a pixel of a mask."""
    return self.coding.names

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: an image is of no single class."""
    return np.full(len(self.pairs), -1, np.int32)

  def name(self, i: int) -> str:
    """The path relative to `root`, as text that can be printed."""
    return printable(self.pairs[i].image)


def opened(
  root: str,
  pairs: Sequence[Pair],
  coding: Coding,
  part_of: Callable[[Pair], str] | None = None,
) -> MaskedFiles:
  """The source of a layout, every image and every mask checked.

  Args:
    root: the folder that paths are relative to.
    pairs: in the order of the layout.
    coding: what the values of the masks mean.
    part_of: of a pair, the path of its mask of parts without its suffix; None:
      there are none.

  Raises:
    UserError: there is no readable image, or a mask is missing, of another size
      than its image, or has values of no class; names the first.
  """
  gone = [p for p in pairs if not os.path.isfile(os.path.join(root, p.mask))]
  if gone:
    raise UserError(
      f"{printable(gone[0].image)} in {root} has no mask"
      f" {printable(gone[0].mask)} ({len(gone)} of {len(pairs)} images have"
      " none): add the masks, or take the images out"
    )
  bad = image_check.unreadable(root, [pair.image for pair in pairs])
  kept = tuple(pair for pair in pairs if pair.image not in bad)
  if not kept:
    first = "".join(f" ({n}: {why})" for n, why in list(bad.items())[:1])
    raise UserError(f"no readable image with a mask in {root}{first}")
  image_of = {
    os.path.join(root, p.mask): os.path.join(root, p.image) for p in kept
  }
  image_check.require_right(
    root,
    [pair.mask for pair in kept],
    functools.partial(_fault, coding, image_of),
    ("mask", coding),
    ("the mask ", "masks"),
  )
  parts = (
    () if part_of is None else tuple(_part(root, part_of(p)) for p in kept)
  )
  return MaskedFiles(root, kept, coding, tuple(bad.items()), parts)


def _part(root: str, stem: str) -> str:
  """The mask of parts of that name, relative to the root; '' without one."""
  names = (f"{stem}{suffix}" for suffix in part_masks.SUFFIXES)
  there = (n for n in names if os.path.isfile(os.path.join(root, n)))
  return next(there, "")


def paired(root: str, images: str, masks: str) -> list[Pair]:
  """Each image of a folder, with the mask of the same name in another.

  Args:
    root: the folder that the others are relative to.
    images: folder of the images; those below it count, too.
    masks: folder of the masks, laid out alike.
  """
  present = {}
  for path in walk.walk(os.path.join(root, masks)).files:
    stem, suffix = os.path.splitext(
      os.path.relpath(path, os.path.join(root, masks))
    )
    if suffix.lower() in _MASKS:
      present[stem] = os.path.relpath(path, root)
  found = []
  for path in walk.walk(os.path.join(root, images)).files:
    name = os.path.relpath(path, root)
    stem, suffix = os.path.splitext(
      os.path.relpath(path, os.path.join(root, images))
    )
    if suffix.lower() in images_lib.suffixes():
      expected = os.path.join(masks, f"{stem}.png")
      found.append(Pair(name, present.get(stem, expected)))
  return found


def _fault(coding: Coding, image_of: Mapping[str, str], path: str) -> str:
  """What is wrong with a mask, '' if nothing is."""
  try:
    mask = coding.classes(path)
    image = mask_coding.size(image_of[path])
  except ValueError as error:
    return str(error)
  if mask.shape != image:
    return (
      f"it has {mask.shape[0]} x {mask.shape[1]} pixels and its image"
      f" {image[0]} x {image[1]}: save both at one size"
    )
  return ""
