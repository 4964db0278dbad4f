"""How probable a scene is after what was said of it.

Scenes are those of `datasets.dialogue_world`. The beliefs of an agent are
counted over training scenes, so that they are calibrated, and what an answer
would tell is counted exactly.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import NamedTuple

from jaxtyping import Bool, Int
import numpy as np

from protojax.agents import graph as graphs
from protojax.agents.facts import NO, YES, Place
from protojax.agents.graph import Attribute, Entity, Graph, Kind, Relation
from protojax.datasets.dialogue_world import (
  ATTRIBUTES,
  RELATION,
  RELATIONS,
  TYPES,
  WHOLE,
  Scenes,
  draw,  # noqa: F401
)
from protojax.shown import shown
from protojax.types import UserError

# Scenes that the numbers of all scenes of a type count as, so that few scenes
# do not make a belief certain.
PRIOR = 10.0
# What is less probable is no candidate entity.
LEAST = 0.02


class Fact(NamedTuple):
  """That an unknown has a value, or that it has not."""

  place: Place
  value: str
  holds: bool = True


def graph_of(scenes: Scenes, index: int) -> Graph:
  """A scene as a graph that is certain; weights are those of a belief."""
  there = np.flatnonzero(scenes.there[index])
  entities = [
    Entity(
      TYPES[t],
      1.0,
      tuple(
        _certain(name, values[scenes.attributes[index, t, a]])
        for a, (name, values) in enumerate(ATTRIBUTES.items())
      ),
    )
    for t in there
  ]
  entities += [
    Entity(name, 1.0, (_certain(name, values[scenes.whole[index, w]]),), _BACK)
    for w, (name, values) in enumerate(WHOLE.items())
  ]
  relations = tuple(
    Relation(
      RELATION,
      1.0,
      graphs.normalised([(RELATIONS[scenes.relations[index, s, t]], 1.0)]),
      first=TYPES[s],
      second=TYPES[t],
    )
    for i, s in enumerate(there)
    for t in there[i + 1 :]
  )
  return Graph(tuple(entities), relations)


_BACK: Kind = "background"


def _certain(name: str, value: str) -> Attribute:
  return Attribute(name, 1.0, graphs.normalised([(value, 1.0)]))


class Weights(NamedTuple):
  """How much each factor of a scene matters, from 0 to 1.

  Attributes:
    things: importance of each type.
    attributes: importance of each attribute.
    whole: importance of the background and of the style.
    relation: importance of a position.
  """

  things: Mapping[str, float]
  attributes: Mapping[str, float]
  whole: Mapping[str, float]
  relation: float


EQUAL = Weights(
  dict.fromkeys(TYPES, 1.0),
  dict.fromkeys(ATTRIBUTES, 1.0),
  dict.fromkeys(WHOLE, 1.0),
  1.0,
)


@dataclasses.dataclass(frozen=True)
class Grammar:
  """What training scenes say of a scene of which some facts are known.

  Attributes:
    scenes: counted over.
    weights: importances of the graphs.
  """

  scenes: Scenes
  weights: Weights = EQUAL

  @functools.cached_property
  def _relations(self) -> Int[np.ndarray, "n t t"]:
    return self.scenes.relations

  def agreeing(self, facts: Sequence[Fact]) -> Bool[np.ndarray, " n"]:
    """Which scenes all of the facts are true of.

    Raises:
      UserError: a fact of what is not in this world.
    """
    found = np.ones(self.scenes.size, bool)
    for fact in facts:
      found &= self._is(fact.place, fact.value) == fact.holds
      if fact.place.name and fact.place.entity not in WHOLE:
        for name in filter(None, (fact.place.entity, fact.place.second)):
          found &= self.scenes.there[:, _code(TYPES, name, "thing")]
    return found

  def _is(self, place: Place, value: str) -> Bool[np.ndarray, " n"]:
    if place.entity in WHOLE:
      code = _code(WHOLE[place.entity], value, place.entity)
      return self.scenes.whole[:, list(WHOLE).index(place.entity)] == code
    first = _code(TYPES, place.entity, "thing")
    if place.second:
      second = _code(TYPES, place.second, "thing")
      code = _code(RELATIONS, value, RELATION)
      return self._relations[:, first, second] == code
    if not place.name:
      return self.scenes.there[:, first] == (value == YES)
    own = _code(tuple(ATTRIBUTES), place.name, "attribute")
    code = _code(ATTRIBUTES[place.name], value, place.name)
    return self.scenes.attributes[:, first, own] == code

  def belief(self, facts: Sequence[Fact], prompt: str = "") -> Graph:
    """What to believe of a scene.

    What was said has probability 1. Of the rest, n scenes that agree with all
    that was said count beside the frequencies over all scenes of the type,
    which count as 10 scenes.

    Args:
      facts: what was said.
      prompt: kept in the graph.
    """
    agree = self.agreeing(facts)
    told = {f.place: f.value for f in facts if f.holds}
    mentioned = [
      t
      for t in TYPES
      if told.get(Place(t)) == YES
      or any(
        t in (f.place.entity, f.place.second) for f in facts if f.place.name
      )
    ]
    entities, relations = [], []
    for t, name in enumerate(TYPES):
      sure = name in mentioned
      there = self.scenes.there[:, t]
      p = 1.0 if sure else _shrunk(there, agree, np.ones_like(agree))
      if told.get(Place(name)) == NO:
        p = 0.0
      if p < LEAST:
        continue
      attributes = tuple(
        self._attribute(t, a, value, agree, facts)
        for a, value in enumerate(ATTRIBUTES)
      )
      kind: Kind = "explicit" if sure else "implicit"
      weight = self.weights.things[name]
      entities.append(Entity(name, weight, attributes, kind, p))
    for w, (name, values) in enumerate(WHOLE.items()):
      own = self._believed(
        Place(name, name), values, self.scenes.whole[:, w], agree, True, facts
      )
      entities.append(Entity(name, self.weights.whole[name], (own,), _BACK))
    codes = [TYPES.index(name) for name in mentioned]
    for i, s in enumerate(sorted(codes)):
      for t in sorted(codes)[i + 1 :]:
        place = Place(TYPES[s], RELATION, TYPES[t])
        both = self.scenes.there[:, s] & self.scenes.there[:, t]
        one = self._believed(
          place, RELATIONS, self._relations[:, s, t], agree, both, facts
        )
        relations.append(
          Relation(
            one.name,
            self.weights.relation,
            one.candidates,
            first=TYPES[s],
            second=TYPES[t],
          )
        )
    return Graph(tuple(entities), tuple(relations), prompt)

  def _attribute(self, t, a, name, agree, facts) -> Attribute:
    return self._believed(
      Place(TYPES[t], name),
      ATTRIBUTES[name],
      self.scenes.attributes[:, t, a],
      agree,
      self.scenes.there[:, t],
      facts,
    )

  def _believed(self, place, values, codes, agree, within, facts) -> Attribute:
    """An unknown's candidates, by the scenes that agree and have it."""
    weight = self.weights.attributes.get(place.name, 1.0)
    own = [f for f in facts if f.place == place]
    ruled_out = {f.value for f in own if not f.holds}
    for fact in own:
      if fact.holds:
        return dataclasses.replace(
          _certain(place.name, fact.value), importance=weight
        )
    pairs = [
      (value, _shrunk(codes == i, agree & within, within))
      for i, value in enumerate(values)
      if value not in ruled_out
    ]
    return Attribute(place.name, weight, graphs.normalised(pairs))


def _shrunk(
  is_so: Bool[np.ndarray, " n"],
  among: Bool[np.ndarray, " n"],
  within: Bool[np.ndarray, " n"] | bool,
) -> float:
  """Share of what is so among some scenes, drawn to that within more."""
  everywhere = np.broadcast_to(np.asarray(within), is_so.shape)
  before = (np.sum(is_so & everywhere) + 0.5) / (np.sum(everywhere) + 1.0)
  found = np.sum(is_so & among) + PRIOR * before
  return float(found / (np.sum(among) + PRIOR))


def _code(names: Sequence[str], name: str, what: str) -> int:
  if name not in names:
    raise UserError(
      f"this world has no {what} {shown(name)}; it has: {', '.join(names)}"
    )
  return names.index(name)
