"""The target: images of another scanner, whose labels never reach training.

Its training images are read through `Unlabelled`, which gives images and groups
alone, and folders of labels are not opened for them. Its test images keep their
labels, for scores.
"""

from typing import Any

from ml_collections import ConfigDict

from protojax.data.source import Source
from protojax.datasets.dataset import Dataset, open_split
from protojax.datasets.unlabelled import Unlabelled
from protojax.types import UserError


def config_of(config: ConfigDict) -> ConfigDict:
  """`config.data` with what `config.target` says instead.

  A key of the target that is '' or () stays as in the source.
  """
  found = config.data.copy_and_resolve_references().unlock()
  for key, value in config.target.items():
    if value not in ("", ()):
      found[key] = value
  # Of no use: the source alone is validated on.
  found.validation_fraction = 0.0
  return found.lock()


def dataset(
  config: ConfigDict, source: Dataset, class_names: tuple[str, ...] | None
) -> Dataset:
  """The target as a data set; its training split has no labels.

  Args:
    config: of the run.
    source: the data set of the source; where a plan lets something stand for
      images that are not there, the same stands for the target's.
    class_names: of a trained run; None takes those of the data.
  """

  def opened(data: Any, split: str, seed: int) -> Source:
    try:
      if split != "train":
        return open_split(data, split, seed)
      hidden = data.copy_and_resolve_references().unlock()
      if "masks" in hidden:
        hidden.masks = ""
      return Unlabelled(open_split(hidden, split, seed))
    except UserError as error:
      if source.stand_in is None:
        raise
      found = source.stand_in(split, error)
      return Unlabelled(found) if split == "train" else found

  return Dataset(
    config_of(config), config.seed, config.batch_size, class_names, opened
  )


def require_classes(source: Source, test: Source) -> None:
  """Refuses a target whose classes are others than the source's.

  Raises:
    UserError: names both.
  """
  if tuple(source.class_names) != tuple(test.class_names):
    raise UserError(
      f"the source has the classes {', '.join(source.class_names)}, and the"
      f" target {', '.join(test.class_names)}: both must be the same, in one"
      " order"
    )
