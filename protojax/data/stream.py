"""Streams: batches of a source by step, for training, push and explanation.

A batch depends on (seed, step) alone: a grain.MapDataset reads it by index, and
a resumed run needs no state of an iterator. Threads decode files ahead of use,
and `memory` keeps the images. Random variation comes later, on the device.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import os

import grain
import jax
from jaxtyping import Int32
import numpy as np

from protojax import parallel
from protojax.data import memory, transforms
from protojax.data.source import Source
from protojax.types import Batch, UserError

_CACHE_BYTES = 2 << 30
_THREADS = 16  # more do not help: the disk is the limit
_AHEAD = 4  # batches read before they are asked for


def shuffled(
  source: Source,
  image_size: int,
  batch_size: int,
  seed: int,
  augment: str = "",
  *,
  copies: int = 1,
  cache_bytes: int = _CACHE_BYTES,
) -> "Stream":
  """A stream in another order every epoch, which drops the remainder.

  Args:
    source: the images.
    image_size: side of the images in a batch, in pixels.
    batch_size: examples of a step, over all processes.
    seed: of the order of every epoch.
    augment: names of the random variations that the step applies on the device.
    copies: how often each image comes in an epoch.
    cache_bytes: memory for decoded images; streams of one source share it.

  Raises:
    UserError: there are fewer images than a batch has, or no such augmentation.
  """
  if len(source) < batch_size:
    raise UserError(
      f"{len(source)} training images are fewer than a batch of {batch_size}:"
      f" set the batch size to {len(source)} or less, or add images"
    )
  images = memory.shared(source, image_size, cache_bytes)
  return Stream(source, images, batch_size, seed, augment, copies)


def ordered(
  source: Source,
  image_size: int,
  batch_size: int,
  *,
  cache_bytes: int = _CACHE_BYTES,
) -> "Stream":
  """A stream in the order of its source, the last batch padded.

  The batch size is rounded up to a multiple of the devices, because a run may
  be explained on other devices than it was trained on.

  Args and errors are those of `shuffled`.
  """
  if batch_size > 0:
    batch_size = parallel.whole_batch(batch_size)
  images = memory.shared(source, image_size, cache_bytes)
  return Stream(source, images, batch_size)


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
  """Batches of a source, addressed by step; made by `shuffled` or `ordered`.

  Attributes:
    source: the images.
    images: their pixels at network size.
    batch_size: examples of a step, over all processes.
    seed: of the order; None keeps the order of the source.
    augment: names of the random variations the step applies, '' for none.
    copies: how often each image comes in an epoch.
  """

  source: Source
  images: memory.ImageMemory
  batch_size: int
  seed: int | None = None
  augment: str = ""
  copies: int = 1

  def __post_init__(self):
    transforms.require_known(self.augment)
    if self.batch_size < 1:
      raise UserError(f"batch_size {self.batch_size} must be positive")

  def __len__(self) -> int:
    return len(self.source)

  @property
  def image_size(self) -> int:
    """Side of the images in a batch, in pixels."""
    return self.images.size

  @property
  def varies(self) -> bool:
    """True if `varied` changes images at random."""
    return bool(self.augment)

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Labels of all examples, in the order of the source; -1 is unknown."""
    return self.source.labels

  @property
  def steps_per_epoch(self) -> int:
    """Batches of an epoch; an ordered stream counts the padded one, too."""
    if self.seed is None:
      return -(-len(self) // self.batch_size)
    return len(self) // self.batch_size * self.copies

  def batches(
    self, start: int = 0, stop: int | None = None, *, read_images: bool = True
  ) -> Iterator[Batch]:
    """Batches from `start` up to `stop`; each process gets its own rows.

    Args:
      start: the first step; an epoch is `steps_per_epoch` of them.
      stop: the step after the last; None is the end of an ordered stream.
      read_images: False leaves "image" out and touches no file.

    Returns:
      Batches of NumPy arrays. With several processes, each batch has only the
      rows of this process.
    """
    if stop is None:
      if self.seed is not None:
        raise ValueError("a shuffled stream has no end: give stop")
      stop = self.steps_per_epoch
    rows = self._rows()
    steps = range(start, stop)
    if not read_images:
      return (self._batch(*rows(step)) for step in steps)
    return self._read(grain.MapDataset.source(steps).map(rows))

  def some(self, indices: Sequence[int] | np.ndarray) -> Iterator[Batch]:
    """Batches of chosen examples in the order given, the last one padded.

    Each process gets its own rows, as in `batches`.
    """
    chosen, mine = np.asarray(indices, np.int32), self._share()

    def rows(step: int) -> tuple[np.ndarray, np.ndarray]:
      positions, valid = _padded(step, self.batch_size, len(chosen), mine)
      return chosen[positions], valid

    steps = range(-(-len(chosen) // self.batch_size))
    return self._read(grain.MapDataset.source(steps).map(rows))

  def spread(self, limit: int | None) -> Iterator[Batch]:
    """Batches of all examples, or of `limit` examples spread evenly."""
    if limit is None or limit >= len(self):
      return self.batches()
    return self.some(np.linspace(0, len(self) - 1, limit).round())

  def examples(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """Reads chosen examples; every process gets all of them."""
    indices = np.asarray(indices, np.int32)
    batch = self._batch(indices, np.ones(len(indices), bool))
    return {**batch, "image": self.images.read(indices)}

  def varied(self, batch: Batch, key: jax.Array) -> Batch:
    """The batch with each image changed at random; for use inside a step.

    Args:
      batch: of this stream, or the slice of it that a device holds.
      key: of the step. Each example folds its own from it, so that its noise
        does not depend on its device.
    """
    if not self.augment:
      return batch
    keys = parallel.example_keys(key, batch["index"])
    images = batch["image"].astype("float32")
    varied = jax.vmap(lambda x, k: transforms.draw(self.augment, k).pixels(x))
    return {**batch, "image": varied(images, keys)}

  def once(self) -> "Stream":
    """The same stream that keeps no image, for a pass in constant memory."""
    images = memory.ImageMemory(self.source, self.image_size, 0)
    return dataclasses.replace(self, images=images)

  def _batch(self, indices: np.ndarray, valid: np.ndarray) -> Batch:
    labels = self.labels[indices]
    return {"label": labels, "index": indices, "valid": valid}

  def _share(self) -> slice:
    """Rows of a batch that belong to this process."""
    number, count = parallel.process_index_count()
    if self.batch_size % count:
      raise UserError(
        f"batch_size {self.batch_size} does not divide over {count} processes;"
        f" use a multiple of {count}"
      )
    size = self.batch_size // count
    return slice(number * size, (number + 1) * size)

  def _rows(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Function from a step to this process's (indices, valid)."""
    mine = self._share()
    if self.seed is None:
      return lambda step: _padded(step, self.batch_size, len(self), mine)
    order = grain.MapDataset.range(len(self)).shuffle(self.seed % 2**32)
    order = order.batch(self.batch_size, drop_remainder=True).repeat()
    whole = np.ones(mine.stop - mine.start, bool)
    return lambda step: (np.asarray(order[step], np.int32)[mine], whole)

  def _read(self, rows: grain.MapDataset) -> Iterator[Batch]:
    threads = min(_THREADS, os.cpu_count() or 1)
    options = grain.ReadOptions(threads, max(_AHEAD, threads))
    decoded = rows.map(lambda row: (*row, self.images.read(row[0])))
    iterator = iter(decoded.to_iter_dataset(options))
    try:
      for indices, valid, pixels in iterator:
        yield {**self._batch(indices, valid), "image": pixels}
    finally:
      iterator.close()


def _padded(
  step: int, batch_size: int, count: int, mine: slice
) -> tuple[np.ndarray, np.ndarray]:
  indices = np.arange(step * batch_size, (step + 1) * batch_size)[mine]
  valid = indices < count
  # Padding repeats the last example: its label is valid, and its image is in
  # the same batch, so that it is decoded once.
  return np.minimum(indices, count - 1).astype(np.int32), valid
