"""Captions of scenes that are made anew whenever they are read."""

from collections.abc import Callable, Sequence
from typing import Any


class Captions(Sequence[str]):
  """A caption for each number, made when it is read."""

  def __init__(self, count: int, caption: Callable[[int], str]) -> None:
    """`caption` makes those of 0 to count - 1."""
    self._count, self._caption = count, caption

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, i: Any) -> Any:
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not 0 <= i < len(self):
      raise IndexError(i)
    return self._caption(i)
