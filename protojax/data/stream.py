"""Streams: batches of a source by step, for training, push and explanation.

A batch depends on (seed, step) alone: a grain.MapDataset reads it by index, and
a resumed run needs no state of an iterator. Threads decode files ahead of use,
and `memory` keeps the examples. Random variation comes later, on the device.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
import os
from typing import Any

import grain
import jax
from jaxtyping import Float, Int32
import numpy as np

from protojax import parallel
from protojax.data import choice, columns, fields, memory
from protojax.data import views as views_lib
from protojax.data.resizing import SQUASH, Resizing
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
  rows: Sequence[int] | np.ndarray | None = None,
  weights: Sequence[float] | np.ndarray | None = None,
  labels: Sequence[int] | np.ndarray | None = None,
  columns: Mapping[str, np.ndarray] | None = None,
  padded: bool = False,
  views: Mapping[str, str] | None = None,
  resizing: Resizing = SQUASH,
  cache_bytes: int = _CACHE_BYTES,
) -> "Stream":
  """A stream in another order every epoch, which drops the remainder.

  Args:
    source: the examples.
    image_size: side of the images in a batch, in pixels.
    batch_size: examples of a step, over all processes.
    seed: of the order of every epoch.
    augment: names of the random variations that the step applies on the device.
    copies: how often each example comes in an epoch.
    rows: positions in the source of the examples to draw from; None: all.
      "index" stays the position in the source.
    weights: of each example of the source, drawn with replacement in
      proportion; 0 is never drawn. None: each comes once.
    labels: of each example of the source, in place of its own; -1 is unknown.
    columns: more of each of `rows`, by name, for a batch to hold.
    padded: the last batch of an epoch has the remainder and padding, which a
      loss must leave out by "valid". Weighted draws have no remainder.
    views: several variations by name in place of `augment`; see `data.views`.
      A batch is then batch[view][field] after `Stream.varied`.
    resizing: how images come to `image_size`.
    cache_bytes: memory for decoded examples; streams of one source share it.

  Raises:
    UserError: there are fewer examples than a batch has (but for `padded`), or
      no such augmentation or view.
  """
  if augment and views is not None:
    raise UserError(
      f"augment={augment!r} and views are given: move it into a view"
    )
  chosen = choice.rows(rows, source)
  stream = Stream(
    source,
    memory.shared(source, image_size, cache_bytes, resizing),
    batch_size,
    seed,
    views_lib.one(augment) if views is None else views_lib.several(views),
    copies,
    chosen,
    choice.weights(weights, source, chosen),
    choice.labels(labels, source),
    choice.of_rows(columns, source, chosen),
    padded and weights is None,
  )
  if len(stream) < batch_size and not stream.padded:
    raise UserError(
      f"{len(stream)} training images are fewer than a batch of {batch_size}:"
      f" set the batch size to {len(stream)} or less, or add images"
    )
  return stream


def ordered(
  source: Source,
  image_size: int,
  batch_size: int,
  *,
  rows: Sequence[int] | np.ndarray | None = None,
  resizing: Resizing = SQUASH,
  cache_bytes: int = _CACHE_BYTES,
) -> "Stream":
  """A stream in the order of its source, the last batch padded.

  The batch size is rounded up to a multiple of the devices, because a run may
  be explained on other devices than it was trained on.

  Args and errors are those of `shuffled`; the order is that of `rows`.
  """
  if batch_size > 0:
    batch_size = parallel.whole_batch(batch_size)
  kept = memory.shared(source, image_size, cache_bytes, resizing)
  return Stream(source, kept, batch_size, rows=choice.rows(rows, source))


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
  """Batches of a source, addressed by step; made by `shuffled` or `ordered`.

  Attributes:
    source: the examples.
    kept: their fields at network size.
    batch_size: examples of a step, over all processes.
    seed: of the order; None keeps the order of the source.
    views: the random variations the step applies; without names, a single one.
    copies: how often each example comes in an epoch.
    rows: positions in the source of the stream's examples; None: all.
    weights: of each example of the source; None: each comes once.
    given: labels of each example in place of the source's.
    columns: more of each of `rows`, by name, in the batches of an epoch.
    padded: a shuffled epoch ends in a padded batch; an ordered one always does.
  """

  source: Source
  kept: memory.Memory
  batch_size: int
  seed: int | None = None
  views: tuple[views_lib.View, ...] = views_lib.one("")
  copies: int = 1
  rows: Int32[np.ndarray, "n"] | None = None
  weights: Float[np.ndarray, "N"] | None = None
  given: Int32[np.ndarray, "N"] | None = None
  columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  padded: bool = False

  def __post_init__(self) -> None:
    if self.batch_size < 1:
      raise UserError(f"batch_size {self.batch_size} must be positive")
    for view in self.views:
      view.require_images(self._kinds)

  def __len__(self) -> int:
    return len(self.source) if self.rows is None else len(self.rows)

  @property
  def image_size(self) -> int:
    """Side of the images in a batch, in pixels."""
    return self.kept.size

  @property
  def resizing(self) -> Resizing:
    """How images come to that size."""
    return self.kept.resizing

  @property
  def varies(self) -> bool:
    """True if the examples of a step are changed at random."""
    return any(view.varies for view in self.views)

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Labels of all examples of the source, in its order.

    -1 is unknown, or an example that is not in `rows`.
    """
    labels = self.given
    if labels is None:
      labels = columns.labels(self.source)
    if self.rows is None:
      return labels
    here = np.full_like(labels, -1)
    here[self.rows] = labels[self.rows]
    return here

  @property
  def steps_per_epoch(self) -> int:
    """Batches of an epoch, with a padded one."""
    if self.seed is None or self.padded:
      return -(-len(self) // self.batch_size) * self.copies
    return len(self) // self.batch_size * self.copies

  def batches(
    self, start: int = 0, stop: int | None = None, *, read_images: bool = True
  ) -> Iterator[Batch]:
    """Batches from `start` up to `stop`; each process gets its own rows.

    Args:
      start: the first step; an epoch is `steps_per_epoch` of them.
      stop: the step after the last; None is the end of an ordered stream.
      read_images: False leaves out all fields but labels and groups, and
        touches no file.

    Returns:
      Batches of NumPy arrays. With several processes, each batch has only the
      rows of this process.
    """
    if stop is None:
      if self.seed is not None:
        raise ValueError("a shuffled stream has no end: give stop")
      stop = self.steps_per_epoch
    mine, step = self._share(), self._steps()
    steps = range(start, stop)
    if not read_images:
      return (self._known_of(step(number), mine) for number in steps)
    return self._read(grain.MapDataset.source(steps).map(step), mine)

  def some(self, indices: Sequence[int] | np.ndarray) -> Iterator[Batch]:
    """Batches of chosen examples in the order given, the last one padded.

    Each process gets its own rows, as in `batches`.
    """
    chosen, mine = np.asarray(indices, np.int32), self._share()
    step = functools.partial(choice.padded, chosen, self.batch_size)
    steps = range(-(-len(chosen) // self.batch_size))
    return self._read(grain.MapDataset.source(steps).map(step), mine)

  def spread(self, limit: int | None) -> Iterator[Batch]:
    """Batches of all examples, or of `limit` examples spread evenly."""
    if limit is None or limit >= len(self):
      return self.batches()
    at = np.linspace(0, len(self) - 1, limit).round().astype(np.int32)
    return self.some(self._positions[at])

  def examples(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """Reads chosen examples; every process gets all of them."""
    indices = np.asarray(indices, np.int32)
    return {**self._chosen(indices), **self.kept.read(indices, indices)}

  def varied(self, batch: Batch, key: jax.Array) -> Batch:
    """The batch changed at random, inside a step; batch[view] with views.

    Args:
      batch: of `batches`, or the slice of it that a device holds.
      key: of the step. Each example folds its own from it, so that its noise
        does not depend on its device.
    """
    made: dict[str, Batch] = {}
    saved = batch.get(views_lib.JPEG, {})
    read = {k: v for k, v in batch.items() if k != views_lib.JPEG}
    for view in self.views:
      start = made[view.parent] if view.parent else read
      start = {**start, **saved.get(view.name, {})}
      made[view.name] = view.varied(self._kinds, start, key)
    return made.get("", made)

  def layout(self, *, read_images: bool = True) -> Batch:
    """Shapes and dtypes of a batch of all processes; see `batches`."""

    def rows(x: Any) -> jax.ShapeDtypeStruct:
      return jax.ShapeDtypeStruct((self.batch_size, *x.shape), x.dtype)

    one = {**self._chosen(self._positions[:1]), **self.columns}
    known = {name: rows(x[0]) for name, x in one.items()}
    if not read_images:
      return known
    read = {**known, **jax.tree.map(rows, self.kept.layout())}
    saved = {v.name: v.layout(self._kinds, read) for v in self.views if v.jpeg}
    return {**read, views_lib.JPEG: saved} if saved else read

  def once(self) -> "Stream":
    """The same stream that keeps no example, for a pass in constant memory."""
    nothing = memory.Memory(self.source, self.image_size, 0, self.resizing)
    return dataclasses.replace(self, kept=nothing)

  def in_order(self) -> "Stream":
    """All examples of the source, in its order and without variation."""
    return Stream(self.source, self.kept, parallel.whole_batch(self.batch_size))

  def whole(self) -> "Stream":
    """The same stream, of all examples of the source."""
    return dataclasses.replace(self, rows=None, columns={})

  @functools.cached_property
  def _kinds(self) -> Mapping[str, fields.Field]:
    return fields.of(self.source)

  @functools.cached_property
  def _positions(self) -> Int32[np.ndarray, "n"]:
    if self.rows is not None:
      return self.rows
    return np.arange(len(self.source), dtype=np.int32)

  @functools.cached_property
  def _of_source(self) -> dict[str, Int32[np.ndarray, "n"]]:
    given = {} if self.given is None else {"label": self.given}
    return {**columns.known(self.source), **given}

  @functools.cached_property
  def _repeats(self) -> bool:
    """True if an epoch may have an example several times."""
    if self.seed is None:
      return False
    return self.weights is not None or (
      len(np.unique(self._positions)) < len(self._positions)
    )

  def _known(
    self, indices: np.ndarray, valid: np.ndarray, draws: np.ndarray
  ) -> Batch:
    """What is known of some examples without reading them.

    "draw" tells an example that an epoch has several times from itself.
    """
    known = {name: rows[indices] for name, rows in self._of_source.items()}
    known |= {"index": indices, "valid": valid}
    return {**known, "draw": draws} if self._repeats else known

  def _chosen(self, indices: np.ndarray) -> Batch:
    valid, draws = np.ones(len(indices), bool), np.zeros(len(indices), np.int32)
    return self._known(indices, valid, draws)

  def _known_of(self, step: choice.Step, mine: slice) -> Batch:
    _, indices, valid, draws, columns = step
    known = self._known(indices[mine], valid[mine], draws[mine])
    return {**known, **{name: x[mine] for name, x in columns.items()}}

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

  def _steps(self) -> Callable[[int], choice.Step]:
    """Function from a number to the step, over all processes."""
    if self.seed is None:
      return functools.partial(choice.padded, self._positions, self.batch_size)
    positions, size = self._positions, self.batch_size
    per_epoch = self.steps_per_epoch // self.copies
    if self.weights is None:
      drawn = choice.in_order(positions, self.seed, size, self.padded)
    else:
      weights = self.weights[positions]
      drawn = choice.by_weight(positions, weights, self.seed, size, per_epoch)

    def step(number: int) -> choice.Step:
      at, draws, valid = drawn(number)
      columns = {name: x[at] for name, x in self.columns.items()}
      return choice.Step(
        number // per_epoch, positions[at], valid, draws, columns
      )

    return step

  def _read(self, steps: grain.MapDataset, mine: slice) -> Iterator[Batch]:
    threads = min(_THREADS, os.cpu_count() or 1)
    options = grain.ReadOptions(threads, max(_AHEAD, threads))

    def batch(step: choice.Step) -> Batch:
      read = self.kept.read(step.indices[mine], step.indices)
      found = {**self._known_of(step, mine), **read}
      return self._saved(step.epoch, found)

    iterator = iter(steps.map(batch).to_iter_dataset(options))
    try:
      yield from iterator
    finally:
      iterator.close()

  def _saved(self, epoch: int, found: Batch) -> Batch:
    """What was read, and images saved as JPEG where a view wants them."""
    saved = {
      view.name: view.saved(self._kinds, found, self.seed or 0, epoch)
      for view in self.views
      if view.jpeg
    }
    return {**found, views_lib.JPEG: saved} if saved else found
