"""Concepts: what an image shows besides its class, and where.

A source that knows its concepts is `Conceptual`. In any other source each class
is a concept, and nobody knows where it is.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Int32
import numpy as np

from protojax.data.places import Places
from protojax.data.source import Source, Subset


@runtime_checkable
class Conceptual(Protocol):
  """A source that knows which concepts its images show, and where."""

  @property
  def concept_names(self) -> tuple[str, ...]:
    """Names of the concepts; index = number."""
    ...

  @property
  def concepts(self) -> Bool[np.ndarray, "n c"]:
    """True for the concepts that each image shows."""
    ...

  def places(self, i: int) -> Places:
    """Boxes of the concepts in one image."""
    ...


def names(source: Source) -> tuple[str, ...]:
  """Names of the concepts, by number; of the classes if there are none."""
  whole, _ = _origin(source)
  if isinstance(whole, Conceptual):
    return whole.concept_names
  return source.class_names


def present(source: Source) -> Bool[np.ndarray, "n c"]:
  """True for the concepts of each image; for its class if there are none."""
  whole, rows = _origin(source)
  if isinstance(whole, Conceptual):
    return whole.concepts[rows]
  return source.labels[:, None] == np.arange(len(source.class_names))


def places(source: Source, i: int) -> Places | None:
  """Boxes of the concepts of one image; None if nobody knows them."""
  whole, rows = _origin(source)
  return whole.places(int(rows[i])) if isinstance(whole, Conceptual) else None


def _origin(source: Source) -> tuple[Source, Int32[np.ndarray, "n"]]:
  """The source behind a subset, and the row there of each image."""
  rows = np.arange(len(source), dtype=np.int32)
  while isinstance(source, Subset):
    source, rows = source.whole, source.rows[rows]
  return source, rows
