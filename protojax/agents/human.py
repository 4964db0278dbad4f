"""A person at the terminal, in the place of a model."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
from typing import Any

from protojax.agents.providers import Message
from protojax.types import UserError


@dataclasses.dataclass(frozen=True)
class LLM:
  """Shows what is asked, and takes a line for an answer.

  Attributes:
    say: shows a line.
    listen: the next line that was typed; None at the end of the input.
  """

  say: Callable[[str], None]
  listen: Callable[[], str | None]

  @property
  def name(self) -> str:
    """Of provider and model."""
    return "human"

  def generate(
    self,
    messages: Sequence[Message],
    *,
    json_schema: Mapping[str, Any] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    n: int = 1,
  ) -> list[str]:
    """See `providers.LLMProvider`; people have no temperature and no seed."""
    del temperature, seed
    for message in messages:
      for line in message["content"].splitlines():
        self.say(line)
    if json_schema is not None:
      self.say(f"JSON in one line, as {json.dumps(json_schema)}")
    return [self._line() for _ in range(n)]

  def _line(self) -> str:
    found = self.listen()
    if found is None:
      raise UserError("the input has ended, and an answer was asked for")
    return found
