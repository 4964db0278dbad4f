"""Explains what is said of a bag: where, by which instances, and why."""

from collections.abc import Iterator
import dataclasses
from typing import Any, ClassVar

from protojax.data.stream import Stream
from protojax.explain import blocks
from protojax.explain.request import Request
from protojax.prototypes.groups import CLASS, Groups
from protojax.types import State


class Classifier:
  """The `classifies` of CoMEL."""

  def __init__(self, method: Any) -> None:
    self.class_names = tuple(method.dataset.class_names)
    self.groups = Groups(CLASS, self.class_names)


@dataclasses.dataclass(frozen=True)
class Explainer:
  """The `explains` of CoMEL."""

  method: Any

  scopes: ClassVar[tuple[str, ...]] = ("local",)
  report: ClassVar[str] = "block_report"

  @property
  def network(self) -> None:
    """None: its prototypes are those of each bag."""

  def stale(self, state: State) -> bool:
    """Never: nothing is pushed."""
    del state
    return False

  def explain(
    self, state: State, data: Stream, request: Request
  ) -> Iterator[blocks.Explanation]:
    """The bags."""
    return iter(())
