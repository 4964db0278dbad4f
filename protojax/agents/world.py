"""The world of scenes as arrays, so that many dialogues run at once.

What `scenes.Grammar` believes of one dialogue, in names, is here believed of
many, in numbers: both count the same scenes in the same way. An unknown is the
appearance of an entity, an attribute of it, or a position; a cell is one value
of one of them. Cells are numbered as the questions of `beliefs.place`: the
appearances [e], then the attributes [e a v], then the positions [r v], of the
types, the background and the style, and of the pairs of types, in the order
of `scenes`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.agents import beliefs, scenes
from protojax.agents.beliefs import Beliefs
from protojax.agents.facts import Place
from protojax.agents.scenes import Grammar, Scenes
from protojax.types import Array, ArrayLike

# Of every belief of the world, so that a policy is compiled once.
SIZES = beliefs.Sizes(
  len(scenes.TYPES) + len(scenes.WHOLE),
  len(scenes.ATTRIBUTES),
  len(scenes.TYPES) * (len(scenes.TYPES) - 1) // 2,
  max(
    len(values)
    for values in (
      *scenes.ATTRIBUTES.values(),
      *scenes.WHOLE.values(),
      scenes.RELATIONS,
    )
  ),
)
_E, _A, _R, _V = SIZES
_T = len(scenes.TYPES)
_FIRST, _SECOND = np.triu_indices(_T, 1)
CELLS = _E + _E * _A * _V + _R * _V
UNKNOWNS = _E + _E * _A + _R
ABSENT = _V  # the code of an unknown whose thing is not there
# Of each cell, the unknown that it is a value of.
UNKNOWN = np.concatenate(
  [
    np.arange(_E),
    _E + np.repeat(np.arange(_E * _A), _V),
    _E + _E * _A + np.repeat(np.arange(_R), _V),
  ]
)
# What has to be there for an unknown to have a value [u 2].
NEEDS = np.concatenate(
  [
    np.stack([np.arange(_E)] * 2, 1),
    np.stack([np.repeat(np.arange(_E), _A)] * 2, 1),
    np.stack([_FIRST, _SECOND], 1),
  ]
)


def _exists() -> Bool[np.ndarray, " k"]:
  attributes = np.zeros((_E, _A, _V), bool)
  for a, values in enumerate(scenes.ATTRIBUTES.values()):
    attributes[:_T, a, : len(values)] = True
  for w, values in enumerate(scenes.WHOLE.values()):
    attributes[_T + w, 0, : len(values)] = True
  relations = np.ones((_R, _V), bool)
  return np.concatenate(
    [np.ones(_E, bool), attributes.ravel(), relations.ravel()]
  )


EXISTS = _exists()  # cells that are not there to fill the arrays up


def cells(drawn: Scenes) -> Bool[np.ndarray, "n k"]:
  """What is true of each scene; of what is not there nothing is."""
  n = drawn.size
  appears = np.concatenate(
    [drawn.there, np.ones((n, len(scenes.WHOLE)), bool)], axis=1
  )
  attributes = np.zeros((n, _E, _A, _V), bool)
  attributes[:, :_T] = drawn.attributes[..., None] == np.arange(_V)
  attributes[:, :_T] &= drawn.there[..., None, None]
  attributes[:, _T:, 0] = drawn.whole[..., None] == np.arange(_V)
  both = drawn.there[:, _FIRST] & drawn.there[:, _SECOND]
  codes = drawn.relations[:, _FIRST, _SECOND]
  relations = (codes[..., None] == np.arange(_V)) & both[..., None]
  return np.concatenate(
    [appears, attributes.reshape(n, -1), relations.reshape(n, -1)], axis=1
  )


def cell(place: Place, value: str) -> int:
  """Number of a cell; of an appearance, whatever the value."""
  names = (*scenes.TYPES, *scenes.WHOLE)
  first = names.index(place.entity)
  if not place.name:
    return first
  if place.second:
    second = names.index(place.second)
    pair = int(np.flatnonzero((first == _FIRST) & (second == _SECOND))[0])
    return _E + _E * _A * _V + pair * _V + scenes.RELATIONS.index(value)
  if place.entity in scenes.WHOLE:
    return _E + first * _A * _V + scenes.WHOLE[place.entity].index(value)
  own = list(scenes.ATTRIBUTES).index(place.name)
  values = scenes.ATTRIBUTES[place.name]
  return _E + (first * _A + own) * _V + values.index(value)


class World(NamedTuple):
  """A grammar as arrays.

  Attributes:
    holds: what is true of each training scene [k n], as 0 and 1.
    codes: value of each unknown in each training scene [n u]; `ABSENT` where
      what it needs is not there. Of an appearance 0 is yes, and 1 no.
    before: probability of each cell over all scenes in which what it needs is
      there [k].
    weight: importance of each entity [e].
    attribute_weight: importance of each attribute [e a].
    relation_weight: importance of each position [r].
  """

  holds: Float[ArrayLike, "k n"]
  codes: Int[ArrayLike, "n u"]
  before: Float[ArrayLike, " k"]
  weight: Float[ArrayLike, " e"]
  attribute_weight: Float[ArrayLike, "e a"]
  relation_weight: Float[ArrayLike, " r"]


def world(grammar: Grammar) -> World:
  """The arrays of a grammar."""
  true = cells(grammar.scenes)
  sums, n = true.sum(0), len(true)
  within = np.concatenate([np.full(_E, n), _needed(sums)[_E:]])
  weights = grammar.weights
  attribute = np.zeros((_E, _A), np.float32)
  attribute[:_T] = [weights.attributes[name] for name in scenes.ATTRIBUTES]
  attribute[_T:, 0] = [
    weights.attributes.get(name, 1.0) for name in scenes.WHOLE
  ]
  return World(
    np.ascontiguousarray(true.T, np.float32),
    _codes(true),
    np.where(EXISTS, (sums + 0.5) / (within + 1), 0).astype(np.float32),
    np.asarray(
      [weights.things[t] for t in scenes.TYPES]
      + [weights.whole[w] for w in scenes.WHOLE],
      np.float32,
    ),
    attribute,
    np.full(_R, weights.relation, np.float32),
  )


def _codes(true: Bool[np.ndarray, "n k"]) -> Int[np.ndarray, "n u"]:
  value = np.where(UNKNOWN < _E, 0, (np.arange(CELLS) - _E) % _V)
  found = np.full((len(true), UNKNOWNS), ABSENT, np.int8)
  found[:, :_E] = 1
  scene, k = np.nonzero(true)
  found[scene, UNKNOWN[k]] = value[k]
  return found


def _needed(sums: np.ndarray) -> np.ndarray:
  """Of each cell, in how many scenes its unknown has a value."""
  attributes = sums[_E : _E + _E * _A * _V].reshape(_E * _A, _V).sum(-1)
  relations = sums[_E + _E * _A * _V :].reshape(_R, _V).sum(-1)
  return np.concatenate([sums[:_E], attributes, relations])[UNKNOWN]


class Told(NamedTuple):
  """All that was said in a dialogue.

  Attributes:
    yes: cells that are true [k].
    no: cells that are not [k].
    passed: unknowns that the user knows nothing of [u].
    against: how many of the facts are not true of each training scene [n].
  """

  yes: Bool[ArrayLike, " k"]
  no: Bool[ArrayLike, " k"]
  passed: Bool[ArrayLike, " u"]
  against: Int[ArrayLike, " n"]


def first_told(world: World, things: Bool[ArrayLike, " t"]) -> Told:
  """What a first prompt tells: that these types are there."""
  things = jnp.asarray(things)
  missing = 1 - jnp.asarray(world.holds)[:_T]
  return Told(
    jnp.zeros(CELLS, bool).at[:_T].set(things),
    jnp.zeros(CELLS, bool),
    jnp.zeros(UNKNOWNS, bool),
    (things.astype(jnp.float32) @ missing).astype(jnp.int32),
  )


def tell(
  world: World, told: Told, cell: Int[ArrayLike, ""], holds: Bool[ArrayLike, ""]
) -> Told:
  """Adds a fact, and that what it needs is there.

  Args:
    world: of the dialogue.
    told: so far.
    cell: what is said to be true, or not; below 0 says nothing.
    holds: whether it is true.
  """
  # In the order of the user's words: the things, then what is said of them.
  needs = jnp.asarray(NEEDS)[jnp.asarray(UNKNOWN)[cell]]
  of_thing = cell >= _E
  for thing in (needs[0], needs[1]):
    told = _added(world, told, jnp.where(of_thing, thing, -1), True)
  return _added(world, told, cell, holds)


def _added(world, told, cell, holds) -> Told:
  holds = jnp.asarray(holds)
  new = (cell >= 0) & ~jnp.where(holds, told.yes[cell], told.no[cell])
  # What is always there is no news.
  new &= (cell >= _E) | (cell < _T)
  true = jnp.asarray(world.holds)[cell] == 1
  return told._replace(
    yes=told.yes.at[cell].set(jnp.where(new, holds, told.yes[cell])),
    no=told.no.at[cell].set(jnp.where(new, ~holds, told.no[cell])),
    against=told.against + (new & (true != holds)),
  )


def believe(world: World, told: Told) -> Beliefs:
  """What to believe after what was said: the twin of `Grammar.belief`.

  Entities are all of the world; one that `Grammar.belief` leaves out has no
  weight, and positions are those of all pairs, of weight 0 unless both things
  were named.
  """
  agree = (jnp.asarray(told.against) == 0).astype(jnp.float32)
  sums = jnp.asarray(world.holds) @ agree
  p = _shrunk(sums[:_E], jnp.sum(agree), world.before[:_E])
  named = _named(told)
  p = jnp.where(named, 1.0, jnp.where(told.no[:_E], 0.0, p))
  kept = p >= scenes.LEAST
  within = jnp.sum(sums[_E:].reshape(-1, _V), -1, keepdims=True)
  values = _shrunk(
    sums[_E:].reshape(-1, _V), within, world.before[_E:].reshape(-1, _V)
  )
  yes, no, exists = (
    jnp.asarray(x)[_E:].reshape(-1, _V) for x in (told.yes, told.no, EXISTS)
  )
  values = jnp.where(exists & ~no, values, 0.0)
  known = jnp.any(yes, -1)
  values = jnp.where(known[:, None], yes, values)
  some = jnp.sum(values, -1, keepdims=True)
  values = jnp.where(some > 0, values / some, np.arange(_V) == 0)
  passed = jnp.asarray(told.passed)
  is_open = (some[:, 0] > 0) & ~known & ~passed[_E:]
  attributes, relations = jnp.split(values, [_E * _A])
  attribute_open, relation_open = jnp.split(is_open, [_E * _A])
  both = named[_FIRST] & named[_SECOND]
  return Beliefs(
    p,
    jnp.where(kept, world.weight, 0.0),
    kept & ~named & ~passed[:_E],
    jnp.asarray(world.attribute_weight),
    attributes.reshape(_E, _A, _V),
    attribute_open.reshape(_E, _A) & kept[:, None],
    jnp.where(both, world.relation_weight, 0.0),
    relations,
    relation_open & both,
  )


def _named(told: Told) -> Bool[Array, " e"]:
  """Which entities were said to be there, or always are."""
  return jnp.asarray(told.yes)[:_E] | (np.arange(_E) >= _T)


def _shrunk(found, among, before):
  return (found + scenes.PRIOR * before) / (among + scenes.PRIOR)


def probabilities(found: Beliefs) -> Float[Array, " k"]:
  """Of each cell, given that what it needs is there."""
  return jnp.concatenate(
    [found.appears, jnp.ravel(found.attributes), jnp.ravel(found.relations)]
  )


def importances(world: World) -> Float[Array, " k"]:
  """Weight of each cell in `likelihood.negative_log`."""
  weight = jnp.asarray(world.weight)[:, None]
  unknowns = [
    world.weight,
    jnp.ravel(weight * world.attribute_weight),
    world.relation_weight,
  ]
  return jnp.concatenate(unknowns)[UNKNOWN]


def open_unknowns(found: Beliefs) -> Bool[Array, " u"]:
  """What may be asked for."""
  return jnp.concatenate(
    [
      jnp.asarray(found.unsure),
      jnp.ravel(found.attribute_open),
      jnp.asarray(found.relation_open),
    ]
  )


def drawn(told: Told, key: Array) -> Int[Array, ""]:
  """A training scene that agrees with as much of what was said as any."""
  least = jnp.asarray(told.against) == jnp.min(told.against)
  rank = jax.random.randint(key, (), 1, jnp.sum(least) + 1)
  return nth(least, rank[None])[0]


def nth(true: Bool[Array, " n"], ranks: Int[Array, " r"]) -> Int[Array, " r"]:
  """Where the first one that is true stands, the second one, and so on.

  By blocks: running sums over all scenes would take most of a turn.

  Args:
    true: at least as often as the largest rank.
    ranks: from 1.
  """
  side = math.isqrt(true.size - 1) + 1
  blocks = jnp.pad(true, (0, side**2 - true.size)).reshape(side, side)
  upto = jnp.cumsum(jnp.sum(blocks, 1))
  block = jnp.sum(upto[None] < ranks[:, None], -1)
  left = ranks - jnp.where(block > 0, upto[block - 1], 0)
  within = jnp.cumsum(blocks[block], -1)
  return block * side + jnp.sum(within < left[:, None], -1)


def expected(world: World, told: Told) -> Float[Array, "u a"]:
  """How probable each code [a] is over all scenes, but for what was told."""
  before, exists = _by_unknown(world.before), _by_unknown(EXISTS)
  yes, no = _by_unknown(told.yes), _by_unknown(told.no)
  known = jnp.any(yes, -1, keepdims=True)
  values = jnp.where(known, yes, jnp.where(exists & ~no, before, 0.0))
  some = jnp.sum(values, -1, keepdims=True)
  values = values / jnp.where(some > 0, some, 1.0)
  appears = jnp.where(_named(told), 1.0, world.before[:_E])
  appears = jnp.where(told.no[:_E], 0.0, appears)
  # A position needs two things; an attribute, or an appearance, one.
  there = appears[NEEDS[:, 0]]
  there *= jnp.where(NEEDS[:, 0] == NEEDS[:, 1], 1.0, appears[NEEDS[:, 1]])
  found = jnp.concatenate([values * there[:, None], 1 - there[:, None]], -1)
  # Whether a thing appears is never without an answer: 0 is yes, and 1 no.
  return found.at[:_E, 1].set(found[:_E, -1]).at[:_E, -1].set(0.0)


def _by_unknown(found: ArrayLike) -> Array:
  """Cells [k], a row for each unknown [u v]; an appearance has one."""
  found = jnp.asarray(found)
  alone = jnp.pad(found[:_E, None], ((0, 0), (0, _V - 1)))
  return jnp.concatenate([alone, found[_E:].reshape(-1, _V)])
