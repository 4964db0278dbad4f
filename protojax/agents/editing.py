"""What a user changes in a belief graph by hand: functions of a graph."""

from collections.abc import Callable
import dataclasses

from protojax.agents import facts
from protojax.agents import graph as graphs
from protojax.agents.facts import Place
from protojax.agents.graph import Attribute, Candidate, Entity, Graph, Relation
from protojax.shown import shown
from protojax.types import UserError


def set_probability(
  graph: Graph, place: Place, value: str, probability: float
) -> Graph:
  """Sets one candidate, keeps the ratios of the others, and pins them all.

  If all others had probability 0, they share what is left.

  Args:
    graph: what is edited.
    place: of the unknown; without a name, whether the entity appears.
    value: a candidate, or a new one; "yes" or "no" of an appearance.
    probability: from 0 to 1.

  Raises:
    UserError: there is nothing at the place, the number is out of range, or
      there is no other candidate to take the rest.
  """
  graphs.require_share(f"the probability of {value}", probability)
  found = facts.require(graph, place)
  if not place.name:
    yes = graphs.key(value) == facts.YES
    return facts.change_entity(
      graph,
      place.entity,
      probability=probability if yes else 1 - probability,
      pinned=True,
    )
  wanted = graphs.key(value)
  others = [c for c in found.candidates if graphs.key(c.name) != wanted]
  if not others and probability < 1:
    raise UserError(
      f"{shown(value)} is the only candidate for {shown(place.name)} of"
      f" {shown(place.entity)}: name another one for the rest"
    )
  rest = sum(c.probability for c in others)
  weights = {
    c.name: (c.probability / rest if rest else 1 / len(others))
    * (1 - probability)
    for c in others
  }
  kept = graphs.find(found.candidates, value)
  # In the order that they had; a new one is last.
  order = [c.name for c in found.candidates] + ([] if kept else [value])
  weights[kept.name if kept else value] = probability
  candidates = graphs.normalised((name, weights[name]) for name in order)
  return facts.put(
    graph, place, dataclasses.replace(found, candidates=candidates, pinned=True)
  )


def remove_candidate(graph: Graph, place: Place, value: str) -> Graph:
  """Takes out a candidate; the others keep their ratios.

  Raises:
    UserError: it is no candidate, or the only one.
  """
  found = facts.require(graph, place)
  if graphs.find(found.candidates, value) is None:
    raise UserError(
      f"{shown(value)} is no candidate for {shown(place.name)}; there are:"
      f" {graphs.named(found.candidates)}"
    )
  return facts.answer_yes_or_no(graph, place, value, yes=False)


def set_importance(graph: Graph, place: Place, importance: float) -> Graph:
  """Of an entity (a place without a name), an attribute or a relation.

  Raises:
    UserError: there is nothing at the place, or the number is out of range.
  """
  found = facts.require(graph, place)
  if not place.name:
    return facts.change_entity(graph, place.entity, importance=importance)
  return facts.put(
    graph, place, dataclasses.replace(found, importance=importance)
  )


def add_entity(graph: Graph, entity: Entity) -> Graph:
  """Raises a UserError if there is one of the name."""
  return dataclasses.replace(graph, entities=(*graph.entities, entity))


def add_attribute(graph: Graph, entity: str, attribute: Attribute) -> Graph:
  """Raises a UserError if there is no such entity, or it has the attribute."""
  found = _entity(graph, entity)
  attributes = (*found.attributes, attribute)
  return facts.change_entity(graph, entity, attributes=attributes)


def add_relation(graph: Graph, relation: Relation) -> Graph:
  """Raises a UserError if an entity is missing, or the relation is there."""
  return dataclasses.replace(graph, relations=(*graph.relations, relation))


def remove(graph: Graph, place: Place) -> Graph:
  """Takes out an attribute, a relation, or an entity with its relations.

  Raises:
    UserError: there is nothing at the place.
  """
  facts.require(graph, place)
  wanted = place.key
  if place.second:
    kept = tuple(
      r
      for r in graph.relations
      if Place(r.first, r.name, r.second).key != wanted
    )
    return dataclasses.replace(graph, relations=kept)
  if place.name:
    attributes = tuple(
      a
      for a in _entity(graph, place.entity).attributes
      if graphs.key(a.name) != wanted.name
    )
    return facts.change_entity(graph, place.entity, attributes=attributes)
  return dataclasses.replace(
    graph,
    entities=tuple(
      e for e in graph.entities if graphs.key(e.name) != wanted.entity
    ),
    relations=tuple(
      r
      for r in graph.relations
      if wanted.entity not in map(graphs.key, (r.first, r.second))
    ),
  )


def rename(graph: Graph, entity: str, name: str) -> Graph:
  """Gives an entity another name, in its relations, too.

  Raises:
    UserError: there is no such entity, or one that has the name.
  """
  _entity(graph, entity)

  def now(of: str) -> str:
    return name if graphs.key(of) == graphs.key(entity) else of

  return dataclasses.replace(
    graph,
    entities=tuple(
      dataclasses.replace(e, name=now(e.name)) for e in graph.entities
    ),
    relations=tuple(
      dataclasses.replace(r, first=now(r.first), second=now(r.second))
      for r in graph.relations
    ),
  )


def sure(name: str, importance: float, value: str) -> Attribute:
  """An attribute that a user adds: one candidate, pinned."""
  return Attribute(name, importance, (Candidate(value, 1.0),), pinned=True)


Edit = Callable[[Graph], Graph]
_NAMED: dict[str, tuple[Callable[..., Graph], tuple[type, ...]]] = {
  "pin": (facts.pin, (str,)),
  "set_probability": (set_probability, (str, float)),
  "set_importance": (set_importance, (float,)),
  "remove_candidate": (remove_candidate, (str,)),
  "remove": (remove, ()),
}


def by_name(name: str, place: Place, *values: str | float) -> Edit:
  """An edit that is called by its name, as a page or a file has it.

  Args:
    name: of a function here.
    place: in the graph.
    *values: what else the function takes.

  Raises:
    UserError: there is no such edit, or it takes other values.
  """
  if name not in _NAMED:
    raise UserError(
      f"there is no edit {shown(name)}; there are: {', '.join(_NAMED)}"
    )
  change, kinds = _NAMED[name]
  given = [type(value) for value in values]
  if given != [float if kind is float else str for kind in kinds]:
    raise UserError(
      f"the edit {name} takes {len(kinds)} values:"
      f" {', '.join('a number' if k is float else 'a text' for k in kinds)}"
    )
  return lambda graph: change(graph, place, *values)


def _entity(graph: Graph, name: str) -> Entity:
  facts.require(graph, Place(name))
  found = graph.entity(name)
  assert found is not None
  return found
