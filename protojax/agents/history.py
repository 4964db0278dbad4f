"""The states of a dialogue, of which the last can be taken back."""

from collections.abc import Callable
import dataclasses
from typing import Generic, NamedTuple, TypeVar

from protojax.agents.facts import Place
from protojax.agents.graph import Graph
from protojax.types import UserError


class Turn(NamedTuple):
  """A question and its answer, in words."""

  question: str
  answer: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
  """All of a dialogue at one time; an edit or an answer makes another.

  Attributes:
    belief: what is believed.
    passed: what the user would not answer.
    turns: questions and answers so far.
  """

  belief: Graph
  passed: frozenset[Place] = frozenset()
  turns: tuple[Turn, ...] = ()


_S = TypeVar("_S", bound=State)


class History(Generic[_S]):
  """What dialogues have in common.

  Attributes:
    unknown: words of the last text that mean nothing in this world; of an edit,
      or what was taken back, there are none.
  """

  def __init__(self, first: _S):
    self._states = [first]
    self.unknown: tuple[str, ...] = ()

  @property
  def belief(self) -> Graph:
    """What is believed now."""
    return self._states[-1].belief

  @property
  def prompt(self) -> str:
    """All that was said."""
    return self.belief.prompt

  @property
  def turns(self) -> tuple[Turn, ...]:
    """Questions and answers so far."""
    return self._states[-1].turns

  def edit(self, change: Callable[..., Graph], *args, **keywords) -> None:
    """Changes the belief by a function of `editing` or `facts`."""
    now = self._states[-1]
    belief = change(now.belief, *args, **keywords)
    self._states.append(dataclasses.replace(now, belief=belief))
    self.unknown = ()

  def undo(self) -> None:
    """Takes the last answer or edit back.

    Raises:
      UserError: there is none.
    """
    if len(self._states) == 1:
      raise UserError("nothing was said or edited: there is nothing to undo")
    self._states.pop()
    self.unknown = ()
