"""From a description to a belief graph and back, by a model of language.

After the parsers of Hahn et al. (arXiv 2412.06771): entities, then the
attributes of each, then the relations between them.
"""

from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

from protojax.agents import graph as graphs
from protojax.agents import prompting
from protojax.agents.facts import Place
from protojax.agents.graph import Attribute, Entity, Graph, Relation
from protojax.agents.prompting import request
from protojax.agents.providers import (
  LLMProvider,
  Usage,
  structured,
  tagged,
  together,
)
from protojax.agents.questions import Question
from protojax.agents.scenes import RELATION, Fact
from protojax.shown import shown
from protojax.types import UserError


@dataclasses.dataclass(frozen=True)
class Parser:
  """Asks a model.

  Attributes:
    llm: the model.
    usage: counts repairs.
    at_once: entities whose attributes are asked for at a time.
    seed: of all answers.
  """

  llm: LLMProvider
  usage: Usage = dataclasses.field(default_factory=Usage)
  at_once: int = 4
  seed: int = 0

  def graph(self, description: str, known: Sequence[str] = ()) -> Graph:
    """What to believe of a picture.

    Args:
      description: what was said of it.
      known: names of entities, which are kept.

    Raises:
      UserError: the model gives no graph, or the description has nothing to
        see.
    """
    asked = request(
      prompting.ENTITIES, description=description, known=list(known)
    )
    entities = self._asked(asked, prompting.Entities, _entities)
    if not entities:
      raise UserError(f"{shown(description[:80])} names nothing to be seen")
    alone = Graph(entities, (), description)
    return self.relations(self.attributes(alone))

  def attributes(self, graph: Graph) -> Graph:
    """The graph with all attributes read anew from its prompt."""

    def one(entity: Entity) -> Entity:
      asked = request(
        prompting.ATTRIBUTES,
        description=graph.prompt,
        entity=entity.name,
        kind=entity.kind,
      )
      found = self._asked(
        asked, prompting.Attributes, lambda sent: _attributes(sent, entity)
      )
      return dataclasses.replace(entity, attributes=found)

    entities = together(one, graph.entities, self.at_once)
    return dataclasses.replace(graph, entities=tuple(entities))

  def relations(self, graph: Graph) -> Graph:
    """The graph with all relations read anew from its prompt."""
    names = [e.name for e in graph.entities if e.kind != "background"]
    if len(names) < 2:
      return dataclasses.replace(graph, relations=())
    asked = request(
      prompting.RELATIONS, description=graph.prompt, entities=names
    )

    def read(sent: prompting.Relations) -> Graph:
      return dataclasses.replace(graph, relations=_relations(sent))

    return self._asked(asked, prompting.Relations, read)

  def merged(self, description: str, question: Question, text: str) -> "Merged":
    """What a description becomes by an answer.

    Raises:
      UserError: the model gives no description.
    """
    about = [*question.place, question.value] if any(question.place) else []
    asked = request(
      prompting.MERGE,
      description=description,
      question=question.text,
      about=about,
      answer=text,
    )
    return self._asked(asked, prompting.Merged, _merged)

  def question(self, task: str, **fields) -> str:
    """A question in words; "" if nothing is left to ask."""
    return self._tagged(request(task, **fields), "question")

  def answer(
    self, goal: str, question: str, otherwise: Sequence[str] = ()
  ) -> str:
    """What a user says who wants the goal.

    Args:
      goal: a description.
      question: in words.
      otherwise: what the user has in mind beside the goal.
    """
    asked = request(
      prompting.ANSWER, goal=goal, otherwise=list(otherwise), question=question
    )
    return self._tagged(asked, "answer") or "I don't know"

  def short(self, description: str) -> str:
    """A description's main things."""
    asked = request(prompting.SHORTEN, description=description)
    return self._tagged(asked, "prompt") or description

  def _asked(self, messages, expected, read):
    return structured(self.llm, messages, expected, read, self.seed, self.usage)

  def _tagged(self, messages, tag: str) -> str:
    return tagged(self.llm, messages, tag, self.seed, self.usage)


class Merged(NamedTuple):
  """What an answer says.

  Attributes:
    statement: as a sentence.
    description: of the picture, with it.
    facts: one by one.
  """

  statement: str
  description: str
  facts: tuple[Fact, ...]


def _entities(sent: prompting.Entities) -> tuple[Entity, ...]:
  found = tuple(
    Entity(
      _named(e["name"]),
      float(e["importance"]),
      (),
      e["kind"],
      float(e["probability"]) if e["kind"] == "implicit" else 1.0,
      e["description"],
    )
    for e in sent["entities"][: prompting.MOST_ENTITIES]
  )
  Graph(found)  # refuses a name twice
  return found


def _attributes(
  sent: prompting.Attributes, entity: Entity
) -> tuple[Attribute, ...]:
  found = sent["attributes"][: prompting.MOST_ATTRIBUTES]
  whole = entity.kind == "background"
  attributes = tuple(
    Attribute(
      entity.name if whole else _named(a["name"]),
      float(a["importance"]),
      _candidates(a["candidates"]),
    )
    for a in (found[:1] if whole else found)
  )
  dataclasses.replace(entity, attributes=attributes)  # refuses a name twice
  return attributes


def _relations(sent: prompting.Relations) -> tuple[Relation, ...]:
  return tuple(
    Relation(
      RELATION,
      float(r["importance"]),
      _candidates(r["candidates"]),
      first=_named(r["first"]),
      second=_named(r["second"]),
      mutual=r["mutual"],
    )
    for r in sent["relations"]
  )


def _candidates(sent) -> tuple[graphs.Candidate, ...]:
  pairs = ((_named(c["name"]), float(c["probability"])) for c in sent)
  return graphs.normalised(pairs)


def _merged(sent: prompting.Merged) -> Merged:
  facts = []
  for one in sent["facts"]:
    place = Place(one["entity"].strip(), one["attribute"], one["second"])
    if place.entity and one["value"].strip():
      facts.append(Fact(place, one["value"].strip()))
  description = sent["description"].strip()
  if not description:
    raise UserError("has an empty description")
  return Merged(sent["statement"].strip(), description, tuple(facts))


def _named(name: str) -> str:
  found = " ".join(name.split())
  if not found:
    raise UserError("has an empty name")
  return found
