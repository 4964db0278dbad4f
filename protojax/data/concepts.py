"""Concepts: what is to be seen in an image besides its class, and where.

A source that knows them is `Conceptual`. Of any other source each class is a
concept of its own, and nobody knows where it is.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool
import numpy as np

from protojax.data.places import Places
from protojax.data.source import Source, Subset


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
  """The concepts of a source, by number; its classes where it has none."""
  if isinstance(source, Subset):
    return names(source.whole)
  if isinstance(source, Conceptual):
    return source.concept_names
  return source.class_names


def present(source: Source) -> Bool[np.ndarray, "n c"]:
  """Which concepts each image shows: its class alone where there are none."""
  if isinstance(source, Subset):
    return present(source.whole)[source.rows]
  if isinstance(source, Conceptual):
    return source.concepts
  return source.labels[:, None] == np.arange(len(source.class_names))


def places(source: Source, i: int) -> Places | None:
  """Where the concepts of an image are; None where nobody knows."""
  if isinstance(source, Subset):
    return places(source.whole, int(source.rows[i]))
  return source.places(i) if isinstance(source, Conceptual) else None
