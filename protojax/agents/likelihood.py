"""How well a belief graph knows the picture that a user has in mind."""

import math
from typing import NamedTuple

from protojax.agents import editing, facts
from protojax.agents.facts import NO, YES, Place
from protojax.agents.graph import Graph
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
  found = belief
  for place in facts.places(belief):
    value = facts.require(belief, place).likeliest
    if not place.name and value.name == NO:
      found = editing.remove(found, place)
    elif facts.unknown(found, place) is None:
      continue  # of an entity that was left out
    elif place.name and value.probability < least:
      found = editing.remove(found, place)
    else:
      found = facts.pin(found, place, value.name if place.name else YES)
  return found


def _weight(goal: Graph, place: Place) -> float:
  own = facts.require(goal, place).importance
  if not place.name or place.second:
    return own
  return facts.require(goal, Place(place.entity)).importance * own
