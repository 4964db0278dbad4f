"""How well a belief graph knows the picture that a user has in mind."""

from collections.abc import Callable, Sequence
import dataclasses
import math
from typing import Any, NamedTuple, TypeVar

import numpy as np

from protojax.agents import editing, facts, words
from protojax.agents import graph as graphs
from protojax.agents.facts import NO, YES, Place
from protojax.agents.graph import Attribute, Candidate, Graph, Relation
from protojax.shown import shown
from protojax.types import UserError

# What a belief does not hold has this probability.
LEAST = 1e-10


class Likelihood(NamedTuple):
  """The negative logarithm of a goal's probability, in nats.

  Attributes:
    value: the sum over the goal's facts.
    unmatched: facts of the goal that the belief has no place or no candidate
      for; each counts 23 nats times its weight.
  """

  value: float
  unmatched: int


def negative_log(
  goal: Graph, belief: Graph, weighted: bool = True
) -> Likelihood:
  """Of a goal, all of whose unknowns are certain (the authors' metric).

  - sum_e w_e log p(e appears) - sum_ea w_e w_a log p(value)
  - sum_r w_r log p(value)

  Args:
    goal: its weights count.
    belief: of the agent.
    weighted: by the goal's importances; every fact counts 1 otherwise.

  Raises:
    UserError: the goal is not certain somewhere.
  """
  total, unmatched = 0.0, 0
  for place in facts.places(goal):
    wanted = facts.require(goal, place).likeliest
    if wanted.probability < 1 - 1e-6:
      raise UserError(
        f"the goal is not certain of {shown(' '.join(filter(None, place)))}:"
        f" {shown(wanted.name)} has probability {wanted.probability:g}"
      )
    found = facts.unknown(belief, place)
    p = found.probability(wanted.name) if found else 0.0
    unmatched += p == 0
    weight = _weight(goal, place) if weighted else 1.0
    total -= weight * math.log(max(p, LEAST))
  return Likelihood(total, unmatched)


def likeliest(belief: Graph, least: float = 0.0) -> Graph:
  """The graph of the likeliest values, all of them certain.

  An entity that more likely does not appear is left out with its relations.

  Args:
    belief: what is made certain.
    least: attributes and relations whose likeliest value is less probable are
      left out.
  """
  return _certain(belief, lambda one: one.likeliest, least)


def sampled(belief: Graph, rng: np.random.Generator) -> Graph:
  """A graph that is certain, each value drawn with its probability.

  An entity that does not appear is left out with its relations.
  """

  def draw(one: Attribute) -> Candidate:
    shares = np.array([c.probability for c in one.candidates])
    # Their sum is 1 but for rounding.
    return one.candidates[rng.choice(len(shares), p=shares / shares.sum())]

  return _certain(belief, draw)


def _certain(
  belief: Graph, choose: Callable[[Attribute], Candidate], least: float = 0.0
) -> Graph:
  """The graph of the chosen values; less probable ones are left out."""
  found = belief
  for place in facts.places(belief):
    if facts.unknown(found, place) is None:
      continue  # of an entity that was left out
    value = choose(facts.require(belief, place))
    out = value.probability < least if place.name else value.name == NO
    if out:
      found = editing.remove(found, place)
    else:
      found = facts.pin(found, place, value.name if place.name else YES)
  return found


def named_as(belief: Graph, goal: Graph) -> Graph:
  """The belief in the goal's words, where a word of it means the same.

  "Mugs" of the belief are "cup" if the goal has a cup and the belief has no
  other one of this name; of several the first. So are attributes and values
  of what both have.
  """
  for old, new in _renamed(belief.entities, goal.entities).items():
    belief = editing.rename(belief, old, new)
  entities = [
    dataclasses.replace(e, attributes=_like(e.attributes, own.attributes))
    if (own := goal.entity(e.name))
    else e
    for e in belief.entities
  ]
  pairs: dict[tuple[str, str], list[Relation]] = {}
  for relation in belief.relations:
    pairs.setdefault(_ends(relation), []).append(relation)
  relations = [
    relation
    for ends, own in pairs.items()
    for relation in _like(own, [r for r in goal.relations if _ends(r) == ends])
  ]
  return dataclasses.replace(
    belief, entities=tuple(entities), relations=tuple(relations)
  )


_Unknown = TypeVar("_Unknown", bound=Attribute)


def _like(
  own: Sequence[_Unknown], wanted: Sequence[Attribute]
) -> tuple[_Unknown, ...]:
  """Attributes or relations in the words of the wanted ones."""
  now, found = _renamed(own, wanted), []
  for one in own:
    name = now.get(one.name, one.name)
    other = graphs.find(wanted, name)
    values = _renamed(one.candidates, other.candidates if other else ())
    candidates = tuple(
      Candidate(values.get(c.name, c.name), c.probability)
      for c in one.candidates
    )
    found.append(dataclasses.replace(one, name=name, candidates=candidates))
  return tuple(found)


def _renamed(own: Sequence[Any], wanted: Sequence[Any]) -> dict[str, str]:
  """Of names that are not wanted, the wanted one that means the same."""
  here = {graphs.key(x.name) for x in own}
  there = {graphs.key(x.name) for x in wanted}
  found: dict[str, str] = {}
  for one in wanted:
    if graphs.key(one.name) in here:
      continue
    for other in own:
      free = other.name not in found and graphs.key(other.name) not in there
      if free and words.meaning(other.name) == words.meaning(one.name):
        found[other.name] = one.name
        break
  return found


def _ends(relation: Relation) -> tuple[str, str]:
  return graphs.key(relation.first), graphs.key(relation.second)


def _weight(goal: Graph, place: Place) -> float:
  own = facts.require(goal, place).importance
  if not place.name or place.second:
    return own
  return facts.require(goal, Place(place.entity)).importance * own
