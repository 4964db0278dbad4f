"""Data sets behind one interface: embedded photos, a folder, any of TFDS."""

from collections.abc import Sequence
import dataclasses
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Int32, UInt8
import numpy as np

from protojax.data import (
  composites,
  files,
  folder,
  photos,
  planted,
  tfds,
  windows,
)
from protojax.types import UserError

SPLITS = ("train", "validation", "test")
# Their images are not cut to boxes.
_WITHOUT_BOXES = ("photos", "planted", "folder", "composites", "boxes")


@runtime_checkable
class Source(Protocol):
  """Images by index; what the rest of protojax knows of a data set."""

  @property
  def class_names(self) -> tuple[str, ...]:
    """By label; empty if the images have no labels."""
    ...

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """Name and reason of each image that could not be read."""
    ...

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Class of each image; -1 is unknown."""
    ...

  def __len__(self) -> int: ...

  def __getitem__(self, i: int) -> dict:
    """{"image": uint8 [H, W, 3] RGB as it is, "label": int, "name": str}."""
    ...

  def name(self, i: int) -> str:
    """What to call an image, without decoding it."""
    ...

  def digest(self, i: int) -> UInt8[np.ndarray, "16"]:
    """Hash of the pixels: the same image, whatever its file."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
  """Some of the images of a source.

  Attributes:
    whole: the source.
    rows: which of its images, in this order.
  """

  whole: Source
  rows: Int32[np.ndarray, "n"]

  @property
  def class_names(self) -> tuple[str, ...]:
    """Those of the whole, by label."""
    return self.whole.class_names

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """Those of the whole."""
    return self.whole.skipped

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Class of each image."""
    return self.whole.labels[self.rows]

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, i: int) -> dict:
    return self.whole[int(self.rows[i])]

  def name(self, i: int) -> str:
    """What the whole calls the image."""
    return self.whole.name(int(self.rows[i]))

  def digest(self, i: int) -> UInt8[np.ndarray, "16"]:
    """Hash of the pixels of one image."""
    return self.whole.digest(int(self.rows[i]))


def load(config_data: Any, split: str, seed: int = 0) -> Source:
  """Opens the training, validation or test images of a config's data set.

  Args:
    config_data: `name` ("photos", "folder", "boxes", "composites", "planted",
      or a data set of TFDS), `root` ('' is the default place), `train` and
      `test` (names of the splits), `test_fraction` (of a folder that is not
      split), `validation_fraction` (the share of each class's training images
      that is held out of them), `split_seed` (of both), `crop` (cut images to
      their bounding boxes), and what a data set of that name has besides.
    split: "train", "validation" or "test".
    seed: of the run; draws the splits when `split_seed` is negative.

  Raises:
    UserError: the data are not there, or not as expected.
  """
  c = config_data
  if split not in SPLITS:
    raise UserError(f"split {split!r}: use one of {', '.join(SPLITS)}")
  seed = seed if c.split_seed < 0 else c.split_seed
  source = _open(c, "test" if split == "test" else "train", seed)
  if split == "validation" or (split == "train" and c.validation_fraction):
    train, validation = divided(source, c.validation_fraction, seed)
    source = train if split == "train" else validation
  unknown = int((source.labels < 0).sum())
  if unknown:
    raise UserError(
      f"{unknown} of {len(source)} {split} images have no label (-1): choose"
      f" another split with --config.data.{split}"
    )
  return source


def _open(c: Any, split: str, seed: int) -> Source:
  splits = (c.train, c.test)
  if c.train == c.test:
    raise UserError(
      f"--config.data.train and --config.data.test are both {c.train!r}: give"
      " two splits, such as 'train[:80%]' and 'train[80%:]'"
    )
  chosen = splits[split == "test"]
  if c.crop and c.name in _WITHOUT_BOXES:
    raise UserError(
      f"the data set {c.name!r} has no bounding boxes to crop to: set"
      " --config.data.crop=False"
    )
  if c.name == "photos":
    return photos.load(c.root, chosen)
  if c.name == "planted":
    return planted.load(c.characteristic, chosen, seed)
  if c.name == "composites":
    return composites.load(chosen, seed, tag=c.tag)
  if c.name == "boxes":
    return windows.load(
      c.root,
      chosen,
      concepts=c.concepts,
      task=c.task,
      side=c.side,
      splits=splits,
      test_fraction=c.test_fraction,
      seed=seed,
    )
  if c.name == "folder":
    return folder.load(
      c.root, chosen, splits=splits, test_fraction=c.test_fraction, seed=seed
    )
  return tfds.load(c.name, c.root, chosen, c.crop)


def images(*paths: str) -> Source:
  """Opens images without labels: files, folders (all below them), patterns.

  Raises:
    UserError: nothing is there, or none of it can be read.
  """
  return files.images(*paths)


def divided(source: Source, fraction: float, seed: int) -> tuple[Part, Part]:
  """The images to train on, and those of each class held out to choose by.

  Of a class with one image none is held out.

  Args:
    source: the training images.
    fraction: the share of each class that is held out.
    seed: of the draw.

  Raises:
    UserError: the share is no share, or nothing could be held out.
  """
  if not 0 < fraction < 1:
    raise UserError(
      f"--config.data.validation_fraction={fraction} leaves a part empty; give"
      " a share between 0 and 1, or 0 to hold nothing out"
    )
  held: list[int] = []
  for label in range(len(source.class_names)):
    members = np.flatnonzero(source.labels == label)
    if len(members) > 1:
      names = [str(member) for member in members]
      held += members[folder.held_out(names, fraction, seed)].tolist()
  if not held:
    raise UserError(
      "no class has two training images, of which one could be held out to"
      " validate on: set --config.data.validation_fraction=0"
    )
  rest = np.setdiff1d(np.arange(len(source)), held)
  return _part(source, rest), _part(source, sorted(held))


def _part(source: Source, rows: Sequence[int] | np.ndarray) -> Part:
  return Part(source, np.asarray(rows, np.int32))
