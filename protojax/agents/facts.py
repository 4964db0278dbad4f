"""Places in a belief graph, and what a user has said of them.

A fact is stronger than any parse: it is pinned at once, and survives when the
graph is read anew from the prompt.
"""

from collections.abc import Iterable, Iterator
import dataclasses
from typing import Any, NamedTuple

from protojax.agents import graph as graphs
from protojax.agents import words
from protojax.agents.graph import Attribute, Candidate, Entity, Graph, Relation
from protojax.shown import shown
from protojax.types import UserError


class Place(NamedTuple):
  """Of an unknown: an entity's attribute, its appearance, or a relation.

  Attributes:
    entity: its name; the first one of a relation.
    name: of the attribute or relation; "" is whether the entity appears.
    second: the other entity of a relation, or "".
  """

  entity: str
  name: str = ""
  second: str = ""

  @property
  def key(self) -> "Place":
    """What places are compared by."""
    return Place(*map(graphs.key, self))


YES, NO = "yes", "no"


def unknown(graph: Graph, place: Place) -> Attribute | None:
  """The attribute or relation at a place.

  Whether an entity appears is an attribute of "yes" and "no".
  """
  if place.second:
    return graph.relation(place.entity, place.second, place.name)
  entity = graph.entity(place.entity)
  if entity is None:
    return None
  return entity.attribute(place.name) if place.name else _appearance(entity)


def places(graph: Graph) -> Iterator[Place]:
  """All of a graph: entity by entity, then the relations."""
  for entity in graph.entities:
    yield Place(entity.name)
    for attribute in entity.attributes:
      yield Place(entity.name, attribute.name)
  for relation in graph.relations:
    yield Place(relation.first, relation.name, relation.second)


def require(graph: Graph, place: Place) -> Attribute:
  """What is at a place.

  Raises:
    UserError: there is nothing; says what there is.
  """
  found = unknown(graph, place)
  if found is not None:
    return found
  entity = graph.entity(place.entity)
  if entity is None:
    raise UserError(
      f"there is no entity {shown(place.entity)}; there are:"
      f" {graphs.named(graph.entities)}"
    )
  if place.second:
    raise UserError(
      f"{shown(place.entity)} and {shown(place.second)} have no relation"
      f" {shown(place.name)}"
    )
  raise UserError(
    f"{shown(place.entity)} has no attribute {shown(place.name)}; it has:"
    f" {graphs.named(entity.attributes)}"
  )


def meant(graph: Graph, place: Place, value: str) -> tuple[Place, str]:
  """A place and a value under the names that a graph has for them.

  "The mug's color" is the colour of its cup, by `words.meaning`; what the graph
  has no name for stays as it is.
  """
  first = _name(graph.entities, place.entity)
  second = _name(graph.entities, place.second)
  entity = graph.entity(first)
  every = entity.attributes if entity else ()
  if second:
    ends = graphs.key(first), graphs.key(second)
    every = [
      r
      for r in graph.relations
      if (graphs.key(r.first), graphs.key(r.second)) == ends
    ]
  found = Place(first, _name(every, place.name), second)
  one = unknown(graph, found)
  return found, _name(one.candidates if one else (), value)


def _name(every: Iterable[Any], name: str) -> str:
  if not name or graphs.find(every, name) is not None:
    return name
  meaning = words.meaning(name)
  same = (x.name for x in every if words.meaning(x.name) == meaning)
  return next(same, name)


def pin(graph: Graph, place: Place, value: str) -> Graph:
  """The graph in which the value at a place is certain, and stays so.

  The authors' code sets the importance of such a fact to 0 so that it is not
  asked for again. Here it keeps its importance, and is pinned.

  Raises:
    UserError: there is nothing at the place, or an appearance that is neither
      "yes" nor "no".
  """
  found = require(graph, place)
  if not place.name:
    probability = float(_is_yes(value))
    return change_entity(
      graph, place.entity, probability=probability, pinned=True
    )
  kept = graphs.find(found.candidates, value)
  sure = (Candidate(kept.name if kept else value, 1.0),)
  return put(
    graph, place, dataclasses.replace(found, candidates=sure, pinned=True)
  )


def answer_yes_or_no(
  graph: Graph, place: Place, value: str, yes: bool
) -> Graph:
  """After the question whether the value at a place is a certain one.

  "Yes" pins it. "No" takes it out, and divides the other probabilities by
  1 - p, which is Bayes' rule.

  Raises:
    UserError: there is nothing at the place, or "no" to the only candidate.
  """
  if yes:
    return pin(graph, place, value)
  found = require(graph, place)
  if not place.name:
    return pin(graph, place, NO if _is_yes(value) else YES)
  wanted = graphs.key(value)
  others = [c for c in found.candidates if graphs.key(c.name) != wanted]
  if not sum(c.probability for c in others):
    raise UserError(
      f"{shown(value)} is the only candidate for {shown(place.name)} of"
      f" {shown(place.entity)}: name another one first"
    )
  left = graphs.normalised((c.name, c.probability) for c in others)
  return put(graph, place, dataclasses.replace(found, candidates=left))


def put(graph: Graph, place: Place, what: Attribute) -> Graph:
  """The graph with another attribute or relation at a place that it has."""
  wanted = place.key
  if place.second:
    relations = tuple(
      what
      if isinstance(what, Relation)
      and Place(r.first, r.name, r.second).key == wanted
      else r
      for r in graph.relations
    )
    return dataclasses.replace(graph, relations=relations)
  entity = graph.entity(place.entity)
  attributes = tuple(
    what if graphs.key(a.name) == wanted.name else a
    for a in (entity.attributes if entity else ())
  )
  return change_entity(graph, place.entity, attributes=attributes)


def change_entity(graph: Graph, name: str, **changes) -> Graph:
  """The graph with other fields of the entity of a name, if it has one."""
  wanted = graphs.key(name)
  entities = tuple(
    dataclasses.replace(e, **changes) if graphs.key(e.name) == wanted else e
    for e in graph.entities
  )
  return dataclasses.replace(graph, entities=entities)


def closed(graph: Graph, passed: Iterable[Place]) -> Graph:
  """The graph in which some places are not asked for, whatever is believed."""
  for place in passed:
    found = unknown(graph, place)
    if found is not None and place.name:
      graph = put(graph, place, dataclasses.replace(found, pinned=True))
    elif found is not None:
      graph = change_entity(graph, place.entity, pinned=True)
  return graph


def remember(parsed: Graph, before: Graph) -> Graph:
  """A graph read anew, with all that was pinned in the one before.

  What the parse has lost is put back; an entity that it has lost is "asked but
  forgotten".
  """
  kept = [p for p in places(before) if require(before, p).pinned]
  for place in kept:
    for name in filter(None, (place.entity, place.second)):
      if parsed.entity(name) is None:
        parsed = _with_entity(parsed, before, name)
    fact = require(before, place)
    if not place.name:
      probability = fact.probability(YES)
      parsed = change_entity(
        parsed, place.entity, probability=probability, pinned=True
      )
    elif unknown(parsed, place) is not None:
      parsed = put(parsed, place, fact)
    elif isinstance(fact, Relation):
      relations = (*parsed.relations, fact)
      parsed = dataclasses.replace(parsed, relations=relations)
    else:
      entity = parsed.entity(place.entity)
      attributes = (*(entity.attributes if entity else ()), fact)
      parsed = change_entity(parsed, place.entity, attributes=attributes)
  return parsed


def _with_entity(parsed: Graph, before: Graph, name: str) -> Graph:
  entity = before.entity(name)
  assert entity is not None
  lost = dataclasses.replace(
    entity, kind="asked but forgotten", attributes=(), pinned=False
  )
  return dataclasses.replace(parsed, entities=(*parsed.entities, lost))


def _appearance(entity: Entity) -> Attribute:
  p = entity.probability
  both = Candidate(YES, p), Candidate(NO, 1 - p)
  return Attribute(entity.name, entity.importance, both, entity.pinned)


def _is_yes(value: str) -> bool:
  said = graphs.key(value)
  if said not in (YES, NO):
    raise UserError(
      f"{shown(value)} does not say whether it appears: {YES} or {NO}"
    )
  return said == YES
