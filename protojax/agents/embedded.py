"""The embedded world as a provider: it answers as a model would, offline.

Sentences are read by the lexicon, beliefs are counted over training scenes, and
pictures are painted. It knows the tasks of `prompting` alone.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import re
from typing import Any

from jaxtyping import UInt8
import numpy as np
from PIL import Image

from protojax.agents import (
  beliefs,
  facts,
  language,
  policies,
  prompting,
  questions,
  world,
)
from protojax.agents.dialogue import Dialogue, scores
from protojax.agents.facts import NO, YES, Place
from protojax.agents.graph import Attribute, Graph
from protojax.agents.providers import Message
from protojax.agents.scenes import TYPES, WHOLE, Fact, Grammar
from protojax.shown import shown
from protojax.types import UserError


@dataclasses.dataclass(frozen=True)
class LLM:
  """Reads, asks and answers by the grammar of scenes."""

  grammar: Grammar

  @property
  def name(self) -> str:
    """Of provider and model."""
    return "embedded"

  def generate(
    self,
    messages: Sequence[Message],
    *,
    json_schema: Mapping[str, Any] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    n: int = 1,
  ) -> list[str]:
    """See `providers.LLMProvider`; the same answer to every seed."""
    del temperature, seed
    task = messages[0]["content"]
    if task not in _TASKS:
      raise UserError(f"the embedded world has no task {shown(task[:40])}")
    found = _TASKS[task](self.grammar, prompting.fields(messages[1]))
    text = found if json_schema is None else json.dumps(found)
    return [text] * n


@dataclasses.dataclass(frozen=True)
class Images:
  """Paints scenes."""

  grammar: Grammar

  @property
  def name(self) -> str:
    """Of provider and model."""
    return "embedded"

  def generate(
    self, prompt: str | Graph, n: int, seed: int, size: int
  ) -> UInt8[np.ndarray, "n S S 3"]:
    """See `providers.ImageProvider`."""
    text = prompt.prompt if isinstance(prompt, Graph) else prompt
    made = Dialogue(text, self.grammar, "none").generate(n, seed)
    scaled = [
      Image.fromarray(x).resize((size, size), Image.Resampling.NEAREST)
      for x in made
    ]
    return np.stack([np.asarray(x) for x in scaled])


def _belief(grammar: Grammar, description: str) -> Graph:
  return grammar.belief(language.read(description).facts, description)


def _entities(grammar: Grammar, asked: Mapping[str, Any]) -> Any:
  if not language.read(asked["description"]).facts:
    return {"entities": []}
  found = _belief(grammar, asked["description"]).entities
  likely = sorted(found, key=lambda e: -e.probability)
  return {
    "entities": [
      {
        "name": e.name,
        "kind": e.kind,
        "importance": e.importance,
        "probability": e.probability,
        "description": "",
      }
      for e in likely[: prompting.MOST_ENTITIES]
    ]
  }


def _attributes(grammar: Grammar, asked: Mapping[str, Any]) -> Any:
  entity = _belief(grammar, asked["description"]).entity(asked["entity"])
  every = entity.attributes if entity else ()
  return {"attributes": [_unknown(a) | {"name": a.name} for a in every]}


def _relations(grammar: Grammar, asked: Mapping[str, Any]) -> Any:
  every = _belief(grammar, asked["description"]).relations
  return {
    "relations": [
      _unknown(r) | {"first": r.first, "second": r.second, "mutual": False}
      for r in every
      if {r.first, r.second} <= set(asked["entities"])
    ]
  }


def _unknown(one: Attribute) -> dict[str, Any]:
  candidates = [dataclasses.asdict(c) for c in one.candidates]
  return {"importance": one.importance, "candidates": candidates}


def _merge(grammar: Grammar, asked: Mapping[str, Any]) -> Any:
  *place, value = asked["about"] or ["", "", "", ""]
  question = questions.Question(
    Place(*place), asked["question"], (), value or ""
  )
  if any(place):
    own, said = questions.answered(question, asked["answer"])
    entity, _, second = question.place
    known = Fact(Place(entity), YES), Fact(Place(second), YES)
  else:
    words = asked["question"].rstrip("?")
    own, said = None, language.read(f"{words} {asked['answer']}")
    # To name something in a question says nothing by itself.
    known = language.read(words).facts
  told = [f for f in said.facts if f not in known]
  if own is not None:
    told = [*(f for f in told if f.place != own.place), own]
  before = language.read(asked["description"]).facts
  return {
    "statement": language.say(told),
    "description": language.say(language.merged(before, told))
    or asked["description"],
    "facts": [
      {
        "entity": f.place.entity,
        "attribute": f.place.name,
        "second": f.place.second,
        "value": f.value,
      }
      for f in told
      if f.holds
    ],
  }


def _ask(grammar: Grammar, asked: Mapping[str, Any]) -> str:
  """The heuristic question; of those that were asked before, the next one."""
  graph = _belief(grammar, asked["description"])
  before = {question for question, _ in asked["history"]}
  while True:
    numbers = beliefs.arrays(graph, world.SIZES)
    chosen = scores("ag1", numbers, np.inf, 0, 0)
    if chosen == policies.NOTHING:
      return "<question></question>"
    place, candidate = beliefs.place(graph, world.SIZES, chosen)
    text = questions.question(graph, place, candidate, False).text
    if text not in before:
      return f"<question>{text}</question>"
    graph = facts.closed(graph, [place])


def _answer(grammar: Grammar, asked: Mapping[str, Any]) -> str:
  """From the facts of the goal, by the things that the question names."""
  texts = *asked["otherwise"], asked["goal"]
  said = [f for text in texts for f in language.read(text).facts]
  # What the goal says comes last.
  goal = {f.place: f for f in said if f.holds}
  words = set(re.findall(r"[\w'-]+", asked["question"].casefold()))
  things = [t for t in TYPES if t in words]
  for place, fact in goal.items():
    if place.second and {place.entity, place.second} == set(things):
      return f"<answer>the {place.entity} is {_value(fact)}</answer>"
    whole = place.entity in WHOLE and place.name in words
    if whole or (place.entity in things and place.name in words):
      return f"<answer>{_value(fact)}</answer>"
  if words >= {"is", "there"} and things:
    there = Place(things[0]) in goal
    return f"<answer>{YES if there else NO}</answer>"
  return "<answer>I don't know</answer>"


def _value(fact: Fact) -> str:
  return language.said(fact.place, fact.value)


def _shorten(grammar: Grammar, asked: Mapping[str, Any]) -> str:
  there = [
    f
    for f in language.read(asked["description"]).facts
    if not f.place.name and f.value == YES
  ]
  return f"<prompt>{language.say(there)}</prompt>"


_TASKS: dict[str, Callable[[Grammar, Mapping[str, Any]], Any]] = {
  prompting.ENTITIES: _entities,
  prompting.ATTRIBUTES: _attributes,
  prompting.RELATIONS: _relations,
  prompting.MERGE: _merge,
  prompting.ASK_BY_BELIEF: _ask,
  prompting.ASK_BY_PRINCIPLES: _ask,
  prompting.ANSWER: _answer,
  prompting.SHORTEN: _shorten,
}
