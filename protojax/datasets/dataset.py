"""The images that a method learns from: a data set's splits as streams.

`open_split` opens one split. `Dataset` opens those that a run asks for, and
makes streams of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from protojax import datasets
from protojax.data import columns, resizing, stream
from protojax.data import splits as splits_lib
from protojax.data.resizing import Preprocessing
from protojax.data.source import Source
from protojax.data.stream import Stream
from protojax.types import UserError

# Keys of config.data that every data set needs; see `open_split`.
_NEEDED = ("name", "train", "test", "validation_fraction", "split_seed", "crop")

# (config.data, split, seed) -> the images of a split.
Open = Callable[[Any, str, int], Source]


def open_split(config_data: Any, split: str, seed: int = 0) -> Source:
  """Opens the training, validation or test images of a config's data set.

  Args:
    config_data: `name` (of a module with `load`; see `protojax.datasets`),
      `root` ('' is the default place), `train` and `test` (names of the
      splits), `test_fraction` (share of the images to test on, if a folder has
      no splits), `validation_fraction` (share of each class's training images
      to hold out), `split_seed` (draws both), `crop` (cut images to their
      bounding boxes), and the keys of that data set alone.
    split: "train", "validation" or "test".
    seed: of the run; draws the splits if `split_seed` is negative.

  Raises:
    UserError: the data are not there, or not as expected.
  """
  c = config_data
  if missing := [key for key in _NEEDED if not hasattr(c, key)]:
    raise UserError(
      f"config.data has no key {', '.join(missing)}, which every data set"
      " needs; docs/adding.md has a small whole config"
    )
  if split not in splits_lib.SPLITS:
    known = ", ".join(splits_lib.SPLITS)
    raise UserError(f"split {split!r}: use one of {known}")
  seed = seed if c.split_seed < 0 else c.split_seed
  source = _opened(c, "test" if split == "test" else "train", seed)
  if split == "validation" or (split == "train" and c.validation_fraction):
    train, validation = splits_lib.divided(source, c.validation_fraction, seed)
    source = train if split == "train" else validation
  known = columns.known(source)
  if "label" in known and (unknown := int((known["label"] < 0).sum())):
    raise UserError(
      f"{unknown} of {len(source)} {split} images have no label (-1): choose"
      f" another split with --config.data.{split}"
    )
  return source


def _opened(c: Any, split: str, seed: int) -> Source:
  """Calls `load` of protojax/datasets/NAME.py."""
  if c.train == c.test:
    raise UserError(
      f"--config.data.train and --config.data.test are both {c.train!r}: give"
      " two splits, such as 'train[:80%]' and 'train[80%:]'"
    )
  module = datasets.find(c.name)
  if c.crop and not getattr(module, "BOXED", False):
    raise UserError(
      f"the data set {c.name!r} has no bounding boxes to crop to: set"
      " --config.data.crop=False"
    )
  return module.load(c, split, seed)


class Dataset:
  """Splits of one data set; each is opened when it is first read.

  Attributes:
    sources: split -> its images, for the splits opened so far.
    resizing: how images come to the size of the network.
    stand_in: split, and why it cannot be opened -> what to take in its place.
      None: nothing, and the error is raised.
  """

  def __init__(
    self,
    config_data: Any,
    seed: int,
    batch_size: int,
    class_names: tuple[str, ...] | None = None,
    open_split: Open = open_split,
    of_weights: Callable[[], Preprocessing] | None = None,
  ) -> None:
    """Opens nothing yet.

    Args:
      config_data: of the run's config; see `open_split`.
      seed: of the run; draws the splits and the order of every epoch.
      batch_size: examples of a step, over all processes.
      class_names: of a trained run; None takes those of the data.
      open_split: opens a split.
      of_weights: gives what the backbone's weights were published with, for
        `data.resize=weights`.

    Raises:
      UserError: the config says not how images are resized.
    """
    self.sources: dict[str, Source] = {}
    # Data without images need not say it.
    self._image_size = config_data.get("image_size", 0)
    given = () if of_weights is None else (of_weights,)
    self.resizing = resizing.chosen(config_data, *given)
    self.stand_in: Callable[[str, UserError], Source] | None = None
    self._data, self._seed, self._batch_size = config_data, seed, batch_size
    self._class_names, self._open = class_names, open_split

  def source(self, split: str) -> Source:
    """The images of a split.

    Raises:
      UserError: they are not there, or not as expected.
    """
    if split not in self.sources:
      try:
        self.sources[split] = self._open(self._data, split, self._seed)
      except UserError as error:
        if self.stand_in is None:
          raise
        self.sources[split] = self.stand_in(split, error)
    return self.sources[split]

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits."""
    return self._class_names or tuple(self.source("train").class_names)

  def ordered(self, split: str) -> Stream:
    """The images of a split in source order, without augmentation."""
    return stream.ordered(
      self.source(split),
      self._image_size,
      self._batch_size,
      resizing=self.resizing,
    )

  def shuffled(
    self,
    augment: str = "",
    copies: int = 1,
    *,
    order: str = "",
    rows: Sequence[int] | np.ndarray | None = None,
    weights: Sequence[float] | np.ndarray | None = None,
    labels: Sequence[int] | np.ndarray | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    padded: bool = False,
    batch_size: int | None = None,
    views: Mapping[str, str] | None = None,
  ) -> Stream:
    """The training images, in another order every epoch.

    Args:
      augment: names of the random variations; see `data.transforms`.
      copies: how often each image comes in an epoch.
      order: a name for the order and for what is drawn on the host. Streams of
        the same name go in step; two streams of one stage want two names.
      rows: positions of the images to draw from; None: all.
      weights: of each image, to draw in proportion; None: each comes once.
      labels: of each image, in place of its own; -1 is unknown.
      columns: more of each of `rows`, by name, for a batch to hold.
      padded: the last batch of an epoch is padded, not dropped.
      batch_size: of this stream; None: the data set's.
      views: several variations by name; see `data.views`.
    """
    return stream.shuffled(
      self.source("train"),
      self._image_size,
      self._batch_size if batch_size is None else batch_size,
      _named_seed(self._seed, order),
      augment,
      copies=copies,
      rows=rows,
      weights=weights,
      labels=labels,
      columns=columns,
      padded=padded,
      views=views,
      resizing=self.resizing,
    )


def _named_seed(seed: int, name: str) -> int:
  """A seed of its own for each name; '' is the seed itself."""
  if not name:
    return seed
  return int.from_bytes(splits_lib.draw(seed, name)[:4], "little")
