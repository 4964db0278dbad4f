"""Concepts: what an image shows besides its class, and where.

A source that knows its concepts is `Conceptual`. In any other source each class
is a concept, and nobody knows where it is.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool
import numpy as np

from protojax.data.places import Places
from protojax.data.source import Source, origin


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
  whole, _ = origin(source)
  if isinstance(whole, Conceptual):
    return whole.concept_names
  return source.class_names


def present(source: Source) -> Bool[np.ndarray, "n c"]:
  """True for the concepts of each image; for its class if there are none."""
  whole, rows = origin(source)
  if isinstance(whole, Conceptual):
    return whole.concepts[rows]
  return source.labels[:, None] == np.arange(len(source.class_names))


def places(source: Source, i: int) -> Places | None:
  """Boxes of the concepts of one image; None if nobody knows them."""
  whole, rows = origin(source)
  return whole.places(int(rows[i])) if isinstance(whole, Conceptual) else None
