"""Data sets behind one interface: embedded photos, a folder, any of TFDS."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Int32, UInt8
import numpy as np

from protojax.data import files, folder, photos, planted, tfds
from protojax.types import UserError

_WITHOUT_BOXES = ("photos", "planted", "folder")


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


def load(config_data: Any, split: str, seed: int = 0) -> Source:
  """Opens the training or the test images of a config's data set.

  Args:
    config_data: `name` ("photos", "folder", or a data set of TFDS), `root` (''
      is the default place), `train` and `test` (names of the splits),
      `test_fraction` and `split_seed` (of a folder that is not split), `crop`
      (cut images to their bounding boxes).
    split: "train" or "test".
    seed: of the run; splits the folder when `split_seed` is negative.

  Raises:
    UserError: the data are not there, or not as expected.
  """
  source = _open(config_data, split, seed)
  unknown = int((source.labels < 0).sum())
  if unknown:
    raise UserError(
      f"{unknown} of {len(source)} {split} images have no label (-1): choose"
      f" another split with --config.data.{split}"
    )
  return source


def _open(c: Any, split: str, seed: int) -> Source:
  splits = (c.train, c.test)
  if split not in ("train", "test"):
    raise UserError(f"split {split!r}: use train or test")
  if c.train == c.test:
    raise UserError(
      f"--config.data.train and --config.data.test are both {c.train!r}: give"
      " two splits, such as 'train[:80%]' and 'train[80%:]'"
    )
  chosen = splits[split == "test"]
  if c.crop and c.name in _WITHOUT_BOXES:
    raise UserError(
      f"the data set {c.name!r} has no bounding boxes: set"
      " --config.data.crop=False"
    )
  if c.name == "photos":
    return photos.load(c.root, chosen)
  if c.name == "planted":
    return planted.load(c.characteristic, chosen, seed)
  if c.name == "folder":
    return folder.load(
      c.root,
      chosen,
      splits=splits,
      test_fraction=c.test_fraction,
      seed=seed if c.split_seed < 0 else c.split_seed,
    )
  return tfds.load(c.name, c.root, chosen, c.crop)


def images(*paths: str) -> Source:
  """Opens images without labels: files, folders (all below them), patterns.

  Raises:
    UserError: nothing is there, or none of it can be read.
  """
  return files.images(*paths)
