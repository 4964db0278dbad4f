"""Cached rows: the output of frozen layers, one row for each example.

A stage behind a frozen backbone reads its features in every step, and some
methods read them many times between the stages, too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
from typing import Any

import jax
from jaxtyping import Int32
import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.prototypes import push
from protojax.types import Batch, PyTree, State

# (state, batch) -> name -> rows, or a tree of them.
Function = Callable[[State, Batch], Mapping[str, PyTree]]
Rows = Mapping[str, PyTree]

# Rows of a stream that take more than this are computed at each use.
_BYTES = 4 << 30


class Cached:
  """Rows of whole streams, computed once and then looked up.

  Attributes:
    function: (state, batch) -> rows of the examples, by name.
  """

  def __init__(
    self,
    function: Function,
    depends_on: Callable[[State], Any] | None = None,
    after: "Cached | None" = None,
    limit: int = _BYTES,
    batch_size: int = 0,
  ) -> None:
    """Computes nothing yet.

    Args:
      function: as above.
      depends_on: state -> the parameters and statistics that rows are made
        with: rows are reused until these change. None: never reused.
      after: cached rows that `function` finds in its batches, in place of
        images.
      limit: bytes of the rows of a stream; above it they are not cached.
      batch_size: examples that rows are computed from at a time, over all
        processes; 0: those of a batch of the stream.
    """
    self.function, self._batch_size = function, batch_size
    self._depends_on, self._after, self._limit = depends_on, after, limit
    self._found: dict[tuple, tuple[Any, bytes, Rows | None]] = {}

  def rows(self, state: State, stream: Stream) -> Rows | None:
    """Rows of every example in source order; None if they are too large.

    Args:
      state: what rows are made with.
      stream: in source order, without augmentation.
    """
    stream = stream.whole()
    if self._batch_size:
      size = parallel.whole_batch(self._batch_size)
      stream = dataclasses.replace(stream, batch_size=size)
    if self._depends_on is None:
      return self._computed(state, stream)
    depends_on = {"": self._depends_on(state)}
    digest = push.embedder_digest(depends_on, {}).tobytes()
    key = id(stream.source), stream.image_size, stream.resizing
    # The source is stored, too, so that no new source can get its id.
    source, made_with, found = self._found.get(key, (None, b"", None))
    if source is None or made_with != digest:
      found = self._computed(state, stream)
      self._found[key] = stream.source, digest, found
    return found

  def of_batch(self, state: State, batch: Batch) -> Mapping[str, PyTree]:
    """Rows of one batch, from its images."""
    if self._after is not None:
      batch = {**batch, **self._after.of_batch(state, batch)}
    return self.function(state, batch)

  def fits(self, size: int, batches: int, of: int = 1) -> bool:
    """Whether rows are kept that take `size` bytes in `of` of the batches."""
    return size / of * batches <= self._limit

  def _computed(self, state: State, stream: Stream) -> Rows | None:
    function, batches = self.of_batch, stream.batches()
    if self._after is not None:
      before = self._after.rows(state, stream)
      if before is not None:
        function = self.function
        batches = _looked_up(stream, before)
    pieces, size = [], 0
    for _, found in parallel.each(function, state, batches):
      pieces.append(found)
      size += sum(x.nbytes for x in jax.tree.leaves(found))
      if not self.fits(size, stream.steps_per_epoch, of=len(pieces)):
        return None
    # Padding is at the end only.
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(stream)], *pieces)

  def batches(
    self, state: State, stream: Stream, only: Any = None
  ) -> Iterator[Batch]:
    """Batches in source order, with rows in place of images where they fit.

    Args:
      state: what rows are made with.
      stream: in source order.
      only: positions of the examples that are wanted; None: all. With cached
        rows the others come, too, since they cost nothing.
    """
    found = self.rows(state, stream)
    if found is None:
      return stream.batches() if only is None else stream.some(only)
    return _looked_up(stream, found)

  def stream(self, state: State, stream: Stream) -> "CachedStream":
    """The stream with rows in place of images."""
    return CachedStream(self, state, stream)


def _looked_up(stream: Stream, rows: Rows) -> Iterator[Batch]:
  """Batches of a stream in source order, with rows in place of images."""
  batches = stream.batches(read_images=False)
  return (with_rows(batch, rows) for batch in batches)


def with_rows(batch: Batch, rows: Rows) -> Batch:
  """The batch with the rows of its examples."""
  return {**batch, **jax.tree.map(lambda x: x[batch["index"]], rows)}


@dataclasses.dataclass(frozen=True)
class CachedStream:
  """A stream whose batches have rows in place of images where they fit.

  Attributes:
    cached: makes the rows and holds them.
    state: what they are made with.
    images: the stream of images, in source order.
  """

  cached: Cached
  state: State
  images: Stream

  def __len__(self) -> int:
    return len(self.images)

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Classes of all examples; -1 is unknown."""
    return self.images.labels

  def batches(self) -> Iterator[Batch]:
    """All batches."""
    return self.cached.batches(self.state, self.images)

  def some(self, indices: Sequence[int] | np.ndarray) -> Iterator[Batch]:
    """Batches with at least the chosen examples."""
    return self.cached.batches(self.state, self.images, indices)

  def examples(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """Chosen examples with their images."""
    return self.images.examples(indices)
