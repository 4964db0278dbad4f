"""Rows that a frozen part of a network makes of images, computed once.

A stage behind a frozen backbone needs its features in every step, and some
methods go over them many times between the stages, too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
from typing import Any

import jax
from jaxtyping import Int32
import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.prototypes import push
from protojax.types import Array, Batch, State

# (state, batch) -> name -> rows.
Function = Callable[[State, Batch], Mapping[str, Array]]
Rows = Mapping[str, np.ndarray]

# Above this rows are computed whenever they are asked for.
_BYTES = 4 << 30


def rows(
  function: Function,
  state: State,
  stream: Stream,
  batches: Iterable[Batch] | None = None,
  limit: int = _BYTES,
) -> Rows | None:
  """Rows of every example in source order, or None if they are too large.

  Args:
    function: always the same object, since it is compiled once.
    state: what it reads.
    stream: in source order, without augmentation.
    batches: of the stream, where they have more than it reads itself.
    limit: bytes that are not too large.
  """
  parts, size = [], 0
  if batches is None:
    batches = stream.batches()
  for _, found in parallel.each(function, state, batches):
    parts.append(found)
    size += sum(x.nbytes for x in jax.tree.leaves(found))
    if size / len(parts) * stream.steps_per_epoch > limit:
      return None
  # Padding stands at the end only.
  return jax.tree.map(lambda *x: np.concatenate(x)[: len(stream)], *parts)


def taken(found: Rows, batch: Batch) -> Batch:
  """The batch with its examples' rows."""
  return {**batch, **jax.tree.map(lambda x: x[batch["index"]], found)}


class Kept:
  """The rows of whole streams, for as long as what makes them stays.

  Attributes:
    function: see `rows`.
  """

  def __init__(
    self,
    function: Function,
    part: Callable[[State], Any],
    through: "Kept | None" = None,
    limit: int = _BYTES,
  ) -> None:
    """Keeps nothing yet.

    Args:
      function: see `rows`.
      part: state -> the parameters and statistics that rows depend on.
      through: what its batches are taken from, rather than from images.
      limit: of the rows of a stream; see `rows`.
    """
    self.function = function
    self._part, self._through, self._limit = part, through, limit
    self._found: dict[tuple[int, int], tuple[Any, bytes, Rows | None]] = {}

  def batches(
    self, state: State, stream: Stream, only: Any = None
  ) -> Iterator[Batch]:
    """Batches in source order, with rows in place of images where they fit.

    Args:
      state: what rows are made with.
      stream: in source order.
      only: positions of the images that are wanted. There may be others
        among the rows, which cost nothing.
    """
    found = self._rows(state, stream)
    if found is None:
      return stream.batches() if only is None else stream.some(only)
    batches = stream.batches(read_images=False)
    return (taken(found, batch) for batch in batches)

  def fed(self, state: State, stream: Stream) -> "Fed":
    """The stream with rows in place of images."""
    return Fed(self, state, stream)

  def _rows(self, state: State, stream: Stream) -> Rows | None:
    made_with = push.embedder_digest({"": self._part(state)}, {}).tobytes()
    key = id(stream.source), stream.image_size
    # The source is kept with its rows, so that no other gets its id.
    source, of, found = self._found.get(key, (None, b"", None))
    if source is None or of != made_with:
      batches = None
      if self._through is not None:
        batches = self._through.batches(state, stream)
      found = rows(self.function, state, stream, batches, self._limit)
      self._found[key] = stream.source, made_with, found
    return found


@dataclasses.dataclass(frozen=True)
class Fed:
  """A stream whose batches have rows in place of images where they fit.

  Attributes:
    kept: what makes and keeps the rows.
    state: what they are made with.
    stream: in source order.
  """

  kept: Kept
  state: State
  stream: Stream

  def __len__(self) -> int:
    return len(self.stream)

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """Of all examples."""
    return self.stream.labels

  def batches(self) -> Iterator[Batch]:
    """All batches."""
    return self.kept.batches(self.state, self.stream)

  def some(self, indices: Sequence[int] | np.ndarray) -> Iterator[Batch]:
    """Batches that have the chosen examples among them."""
    return self.kept.batches(self.state, self.stream, indices)

  def examples(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """Chosen examples with their images."""
    return self.stream.examples(indices)
