"""A small world of scenes, and how probable one is after what was said of it.

A scene has one to four things of different types, each of a colour, size and
texture, at a place; a background and a style. Scenes of one theme are alike:
the hidden themes say which things come together and how they look. The beliefs
of an agent are counted over training scenes, so that they are calibrated, and
what an answer would tell is counted exactly.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.agents import graph as graphs
from protojax.agents.facts import NO, YES, Place
from protojax.agents.graph import Attribute, Entity, Graph, Kind, Relation
from protojax.shown import shown
from protojax.types import UserError

TYPES = ("coin", "cup", "cat", "rocket", "wheel", "flower", "temple", "crater")
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
  "colour": ("red", "green", "blue", "yellow"),
  "size": ("small", "medium", "large"),
  "texture": ("plain", "striped", "dotted"),
}
WHOLE: Mapping[str, tuple[str, ...]] = {
  "background": ("white", "black", "orange", "purple"),
  "style": ("photo", "sketch", "mosaic"),
}
RELATION = "position"
RELATIONS = ("left of", "right of", "above", "below")
MOST = 4  # things in a scene
_THEMES = 5
# Things are so far apart, in the units of `at`, if so many draws allow it.
_GAP, _TRIES = 0.6, 40
# Of the tables of a theme: the smaller, the more alike its scenes.
_SPREAD = 0.4
# Scenes that the numbers of all scenes of a type count as, so that few scenes
# do not make a belief certain.
PRIOR = 10.0
# What is less probable is no candidate entity.
LEAST = 0.02


class Scenes(NamedTuple):
  """Scenes as arrays; of what is not there the codes say nothing.

  Attributes:
    there: which types are in each scene [n t].
    attributes: codes of `ATTRIBUTES` [n t a].
    whole: codes of `WHOLE` [n w].
    at: places of the things, x and y from -1 (left, above) to 1 [n t 2].
  """

  there: Bool[np.ndarray, "n t"]
  attributes: Int[np.ndarray, "n t a"]
  whole: Int[np.ndarray, "n w"]
  at: Float[np.ndarray, "n t 2"]

  @property
  def size(self) -> int:
    """n."""
    return len(self.there)

  @property
  def relations(self) -> Int[np.ndarray, "n t t"]:
    """Code of each type's position to each other: the axis they differ in."""
    x, y = np.moveaxis(self.at[:, :, None] - self.at[:, None], -1, 0)
    along = np.abs(x) >= np.abs(y)
    codes = np.where(along, np.where(x < 0, 0, 1), np.where(y < 0, 2, 3))
    return codes.astype(np.int32)


class Fact(NamedTuple):
  """That an unknown has a value, or that it has not."""

  place: Place
  value: str
  holds: bool = True


def draw(count: int, seed: int) -> Scenes:
  """Scenes of the world; its themes do not depend on the seed."""
  tables = _themes()
  rng = np.random.default_rng([1, seed])
  theme = rng.integers(0, _THEMES, count)
  number = rng.integers(1, MOST + 1, count)
  # The largest of log p and noise: a draw without putting back.
  score = np.log(tables.types[theme]) + rng.gumbel(size=(count, len(TYPES)))
  rank = np.argsort(np.argsort(-score, axis=1), axis=1)
  attributes = [
    _drawn(rng, table[theme]) for table in tables.attributes.values()
  ]
  whole = [_drawn(rng, table[theme]) for table in tables.whole.values()]
  there = rank < number[:, None]
  return Scenes(
    there,
    np.stack(attributes, -1).astype(np.int32),
    np.stack(whole, -1).astype(np.int32),
    _apart(rng, tables.places[theme], there),
  )


class _Themes(NamedTuple):
  types: Float[np.ndarray, "k t"]
  attributes: dict[str, Float[np.ndarray, "k t v"]]
  whole: dict[str, Float[np.ndarray, "k v"]]
  places: Float[np.ndarray, "k t 2"]


@functools.cache
def _themes() -> _Themes:
  rng = np.random.default_rng(0)

  def table(shape: tuple[int, ...], values: int) -> np.ndarray:
    return 0.98 * rng.dirichlet(np.full(values, _SPREAD), shape) + 0.02 / values

  kinds = _THEMES, len(TYPES)
  return _Themes(
    table((_THEMES,), len(TYPES)),
    {name: table(kinds, len(v)) for name, v in ATTRIBUTES.items()},
    {name: table((_THEMES,), len(v)) for name, v in WHOLE.items()},
    rng.uniform(-1, 1, (*kinds, 2)),
  )


def _drawn(
  rng: np.random.Generator, p: Float[np.ndarray, "*b v"]
) -> Int[np.ndarray, "*b"]:
  """A value of each distribution."""
  limits = np.cumsum(p, axis=-1)[..., :-1]
  return (rng.random(p.shape[:-1])[..., None] > limits).sum(-1)


def _apart(
  rng: np.random.Generator,
  means: Float[np.ndarray, "n t 2"],
  there: Bool[np.ndarray, "n t"],
) -> Float[np.ndarray, "n t 2"]:
  """Places around those of the themes; what is there hardly overlaps."""
  at = np.clip(means + 0.3 * rng.normal(size=means.shape), -1, 1)
  pairs = there[:, :, None] & there[:, None] & ~np.eye(len(TYPES), dtype=bool)
  for _ in range(_TRIES):
    far = np.abs(at[:, :, None] - at[:, None]).max(-1)
    again = (pairs & (far < _GAP)).any((1, 2))
    if not again.any():
      break
    shape = int(again.sum()), *means.shape[1:]
    at[again] = np.clip(means[again] + 0.6 * rng.normal(size=shape), -1, 1)
  return at


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
