"""Dataset: the splits of a config's data set, as sources and as streams.

Every method reads its images through one.
"""

from collections.abc import Callable
from typing import Any

from protojax import datasets
from protojax.data import stream
from protojax.data.source import Source
from protojax.data.stream import Stream

# (config.data, split, seed) -> the images of a split.
Open = Callable[[Any, str, int], Source]


class Dataset:
  """Splits of one data set; each is opened when it is first read.

  Attributes:
    sources: split -> its images, for the splits opened so far.
  """

  def __init__(
    self,
    config_data: Any,
    seed: int,
    batch_size: int,
    class_names: tuple[str, ...] | None = None,
    open_split: Open = datasets.load,
  ) -> None:
    """Opens nothing yet.

    Args:
      config_data: of the run's config; see `datasets.load`.
      seed: of the run; draws the splits and the order of every epoch.
      batch_size: examples of a step, over all processes.
      class_names: of a trained run; None takes those of the data.
      open_split: opens a split.
    """
    self.sources: dict[str, Source] = {}
    self._data, self._seed, self._batch_size = config_data, seed, batch_size
    self._class_names, self._open = class_names, open_split

  def source(self, split: str) -> Source:
    """The images of a split.

    Raises:
      UserError: they are not there, or not as expected.
    """
    if split not in self.sources:
      self.sources[split] = self._open(self._data, split, self._seed)
    return self.sources[split]

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits."""
    return self._class_names or tuple(self.source("train").class_names)

  def ordered(self, split: str) -> Stream:
    """The images of a split in source order, without augmentation."""
    size = self._data.image_size
    return stream.ordered(self.source(split), size, self._batch_size)

  def shuffled(self, augment: str = "", copies: int = 1) -> Stream:
    """The training images, in another order every epoch.

    Args:
      augment: names of the random variations; see `data.transforms`.
      copies: how often each image comes in an epoch.
    """
    return stream.shuffled(
      self.source("train"),
      self._data.image_size,
      self._batch_size,
      self._seed,
      augment,
      copies=copies,
    )
