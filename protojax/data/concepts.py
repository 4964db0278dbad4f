"""Concepts: what is to be seen in an image besides its class, and where.

A source that knows them is `Conceptual`. Of any other source each class is a
concept of its own, and nobody knows where it is.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Int32
import numpy as np

from protojax.data.places import Places
from protojax.data.source import Source, View


@runtime_checkable
class Conceptual(Protocol):
  """A source that knows what is to be seen in its images, and where."""

  @property
  def concept_names(self) -> tuple[str, ...]:
    """By number."""
    ...

  @property
  def concepts(self) -> Bool[np.ndarray, "n c"]:
    """Which concepts each image shows."""
    ...

  def places(self, i: int) -> Places:
    """Where they are in one image."""
    ...


def names(source: Source) -> tuple[str, ...]:
  """The concepts of a source, by number; its classes if it has none."""
  whole, _ = _origin(source)
  if isinstance(whole, Conceptual):
    return whole.concept_names
  return source.class_names


def present(source: Source) -> Bool[np.ndarray, "n c"]:
  """True for the concepts that each image shows; its class if none is known."""
  whole, rows = _origin(source)
  if isinstance(whole, Conceptual):
    return whole.concepts[rows]
  return source.labels[:, None] == np.arange(len(source.class_names))


def places(source: Source, i: int) -> Places | None:
  """Boxes of the concepts of one image; None if nobody knows them."""
  whole, rows = _origin(source)
  return whole.places(int(rows[i])) if isinstance(whole, Conceptual) else None


def _origin(source: Source) -> tuple[Source, Int32[np.ndarray, "n"]]:
  """The source behind a view, and the row there of each image."""
  rows = np.arange(len(source), dtype=np.int32)
  while isinstance(source, View):
    source, rows = source.whole, source.rows[rows]
  return source, rows
