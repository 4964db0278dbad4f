"""Opens the images of a config's data set: embedded, of a folder or of TFDS.

`load` gives a `data.source.Source`; `dataset.Dataset` makes streams of it.
"""

from typing import Any

from protojax.data import splits as splits_lib
from protojax.data.source import Source
from protojax.datasets import composites, folder, photos, planted, tfds, windows
from protojax.types import UserError

# Data sets whose images have no box to crop to.
_WITHOUT_BOXES = ("photos", "planted", "folder", "composites", "boxes")


def load(config_data: Any, split: str, seed: int = 0) -> Source:
  """Opens the training, validation or test images of a config's data set.

  Args:
    config_data: `name` ("photos", "folder", "boxes", "composites", "planted",
      or a data set of TFDS), `root` ('' is the default place), `train` and
      `test` (names of the splits), `test_fraction` (share of the images to test
      on, if a folder has no splits), `validation_fraction` (share of each
      class's training images to hold out), `split_seed` (draws both), `crop`
      (cut images to their bounding boxes), and the keys of that data set alone.
    split: "train", "validation" or "test".
    seed: of the run; draws the splits if `split_seed` is negative.

  Raises:
    UserError: the data are not there, or not as expected.
  """
  c = config_data
  if split not in splits_lib.SPLITS:
    known = ", ".join(splits_lib.SPLITS)
    raise UserError(f"split {split!r}: use one of {known}")
  seed = seed if c.split_seed < 0 else c.split_seed
  source = _open(c, "test" if split == "test" else "train", seed)
  if split == "validation" or (split == "train" and c.validation_fraction):
    train, validation = splits_lib.divided(source, c.validation_fraction, seed)
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
