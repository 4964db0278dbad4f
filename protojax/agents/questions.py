"""Questions in words, and what an answer says of what was asked."""

import re
from typing import NamedTuple

from protojax.agents import facts, language
from protojax.agents.facts import NO, YES, Place
from protojax.agents.graph import Graph
from protojax.agents.language import Read
from protojax.agents.scenes import WHOLE, Fact

_MOST = 5  # candidates that are named
_YES = frozenset(("yes", "y", "yeah", "yep", "sure", "true", "correct"))
_NO = frozenset(("no", "n", "nope", "not", "false", "never", "none"))
_NO_MATTER = re.compile(
  r"\b(do(n't| not) (know|care|mind)|no idea|any(thing)?|skip|whatever)\b"
)


class Question(NamedTuple):
  """What is asked.

  Attributes:
    place: in the graph.
    text: in words.
    options: likely answers, the likeliest first.
    value: what a question of yes or no is about; "" asks for the value itself.
  """

  place: Place
  text: str
  options: tuple[str, ...]
  value: str = ""


def question(
  graph: Graph, place: Place, candidate: int, yes_or_no: bool
) -> Question:
  """The words of a question.

  Args:
    graph: the belief.
    place: what is asked for.
    candidate: number of the candidate that a question of yes or no is about.
    yes_or_no: ask whether it is this one.
  """
  one = facts.require(graph, place)
  if not place.name:
    return Question(place, f"Is there a {place.entity}?", (YES, NO), YES)
  if yes_or_no:
    value = one.candidates[candidate].name
    return Question(
      place,
      f"Is {_thing(graph, place)} {language.said(place, value)}?",
      (YES, NO),
      value,
    )
  likely = sorted(one.candidates, key=lambda c: -c.probability)[:_MOST]
  options = tuple(c.name for c in likely)
  if place.second:
    text = f"Where is the {place.entity}, seen from the {place.second}?"
  elif _of_whole(graph, place):
    text = f"Which {place.name} does the picture have?"
  else:
    text = f"Which {place.name} does the {place.entity} have?"
  return Question(place, text, options)


def answered(asked: Question, text: str) -> tuple[Fact | None, Read]:
  """What an answer says of what was asked, if it does, and all that it says."""
  # As if the thing had been named before.
  entity, _, second = asked.place
  before, after = f"the {entity} is", second
  if asked.value:
    before = after = ""
  elif entity in WHOLE:
    before, after = "", entity
  found = language.read(f"{before} {text} {after}")
  if not asked.value:
    own = next((f for f in found.facts if f.place == asked.place), None)
    return own, found
  said = yes_or_no(text)
  unknown = tuple(w for w in found.unknown if w not in _YES | _NO)
  found = Read(found.facts, unknown)
  if said is None:
    return None, found
  if not asked.place.name:
    return Fact(asked.place, YES if said else NO), found
  return Fact(asked.place, asked.value, said), found


def yes_or_no(text: str) -> bool | None:
  """Which of the two an answer says first; None if neither."""
  words = re.findall(r"[\w'-]+", text.casefold())
  return next((word in _YES for word in words if word in _YES | _NO), None)


def is_no_matter(text: str) -> bool:
  """Whether a user does not know, or does not mind."""
  return bool(_NO_MATTER.search(text.casefold()))


def _thing(graph: Graph, place: Place) -> str:
  return f"the {place.name if _of_whole(graph, place) else place.entity}"


def _of_whole(graph: Graph, place: Place) -> bool:
  entity = graph.entity(place.entity)
  return entity is not None and entity.kind == "background"
