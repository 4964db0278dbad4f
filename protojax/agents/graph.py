"""A belief graph: what an agent thinks that a user wants to see in a picture.

Entities have attributes, and there are relations between them. Every one of
these unknowns has candidates with probabilities that sum to 1, and a weight
between 0 and 1 that says how much it matters. Graphs are never changed: what
changes one (`editing`, `facts`) makes another.

After Hahn et al., "Proactive Agents for Multi-Turn Text-to-Image Generation
Under Uncertainty", arXiv 2412.06771. The keys of the JSON are those of the
authors' code, and one of ours: what a user has said or set is "pinned".
"""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import math
from typing import Any, Literal, NotRequired, TypedDict

from protojax import json_files
from protojax.shown import shown
from protojax.types import UserError

Kind = Literal["explicit", "implicit", "background", "asked but forgotten"]
# Of the probabilities of one unknown may their sum be off 1.
_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A value that an unknown can take, and how probable it is."""

  name: str
  probability: float


@dataclasses.dataclass(frozen=True)
class Attribute:
  """A property of an entity.

  Attributes:
    name: "colour".
    importance: from 0 to 1.
    candidates: one at least; their probabilities sum to 1.
    pinned: a user has said or set it; no parse changes it.

  Raises:
    UserError: a number out of range, probabilities that do not sum to 1, a
      candidate twice, or none.
  """

  name: str
  importance: float
  candidates: tuple[Candidate, ...]
  pinned: bool = False

  def __post_init__(self):
    require_share(f"the importance of {self.name}", self.importance)
    if not self.candidates:
      raise UserError(f"{shown(self.name)} has no candidate: name one")
    for candidate in self.candidates:
      of = f"the probability of {candidate.name} as {self.name}"
      require_share(of, candidate.probability)
    _require_unlike(f"candidates of {self.name}", self.candidates)
    total = sum(c.probability for c in self.candidates)
    if abs(total - 1) > _TOLERANCE:
      raise UserError(
        f"the probabilities of {shown(self.name)} sum to {total:.6g}, not 1"
      )

  def probability(self, value: str) -> float:
    """Of a value; 0 if it is no candidate."""
    found = find(self.candidates, value)
    return found.probability if found else 0.0

  @property
  def likeliest(self) -> Candidate:
    """The candidate of the largest probability; the first of equals."""
    return max(self.candidates, key=lambda c: c.probability)

  @property
  def entropy(self) -> float:
    """In nats."""
    every = (c.probability for c in self.candidates)
    return -sum(p * math.log(p) for p in every if p > 0)


@dataclasses.dataclass(frozen=True)
class Relation(Attribute):
  """How the first of two entities stands to the second: "left of".

  Attributes:
    first: name of an entity.
    second: name of another.
    description: in words.
    mutual: it is the same the other way round, as "beside" is.
  """

  first: str = ""
  second: str = ""
  description: str = ""
  mutual: bool = False


@dataclasses.dataclass(frozen=True)
class Entity:
  """Something that a picture may show.

  Attributes:
    name: no two entities of a graph have one name.
    importance: from 0 to 1.
    attributes: of different names.
    kind: "explicit" is in the prompt; "implicit" is likely but not said;
      "background" is of the whole picture, such as the weather; "asked but
      forgotten" was answered by the user and is in no parse.
    probability: that it appears.
    description: in words.
    pinned: a user has said or set whether it appears.

  Raises:
    UserError: a number out of range, or an attribute twice.
  """

  name: str
  importance: float
  attributes: tuple[Attribute, ...] = ()
  kind: Kind = "explicit"
  probability: float = 1.0
  description: str = ""
  pinned: bool = False

  def __post_init__(self):
    require_share(f"the importance of {self.name}", self.importance)
    require_share(f"the probability of {self.name}", self.probability)
    _require_unlike(f"attributes of {self.name}", self.attributes)

  def attribute(self, name: str) -> Attribute | None:
    """The one of a name."""
    return find(self.attributes, name)


@dataclasses.dataclass(frozen=True)
class Graph:
  """What is believed of a picture.

  Attributes:
    entities: of different names.
    relations: between two of them each.
    prompt: what the graph was read from, and what was merged into it.

  Raises:
    UserError: an entity or a relation twice, or a relation of an entity that
      is not there.
  """

  entities: tuple[Entity, ...] = ()
  relations: tuple[Relation, ...] = ()
  prompt: str = ""

  def __post_init__(self):
    _require_unlike("entities", self.entities)
    seen = set()
    for relation in self.relations:
      for name in relation.first, relation.second:
        if self.entity(name) is None:
          raise UserError(
            f"the relation {shown(relation.name)} is of {shown(name)}, which is"
            f" no entity; there are: {named(self.entities)}"
          )
      place = tuple(map(key, (relation.first, relation.second, relation.name)))
      if place in seen:
        raise UserError(
          f"{shown(relation.first)} and {shown(relation.second)} have the"
          f" relation {shown(relation.name)} twice"
        )
      seen.add(place)

  def entity(self, name: str) -> Entity | None:
    """The one of a name."""
    return find(self.entities, name)

  def relation(self, first: str, second: str, name: str) -> Relation | None:
    """The one of two entities and a name."""
    wanted = tuple(map(key, (first, second, name)))
    for one in self.relations:
      if tuple(map(key, (one.first, one.second, one.name))) == wanted:
        return one
    return None


def key(name: str) -> str:
  """What names are compared by: case and spaces at the ends say nothing."""
  return " ".join(name.split()).casefold()


def find(every: Iterable[Any], name: str) -> Any | None:
  """The first of the name, or None."""
  wanted = key(name)
  return next((x for x in every if key(x.name) == wanted), None)


def named(every: Sequence[Any]) -> str:
  """The names in a message: "a, b"."""
  return ", ".join(shown(x.name) for x in every) or "none"


def normalised(pairs: Iterable[tuple[str, float]]) -> tuple[Candidate, ...]:
  """Candidates whose probabilities are in the ratio of the given weights.

  Raises:
    UserError: a weight is negative or not finite, or all are 0.
  """
  pairs = list(pairs)
  for name, weight in pairs:
    if not 0 <= weight < math.inf:
      raise UserError(
        f"the probability of {shown(name)} is {weight:g}: 0 is the least"
      )
  total = sum(weight for _, weight in pairs)
  # What sums to 1 but for rounding stays as it is, so that JSON goes round.
  total = 1.0 if abs(total - 1) < 1e-12 else total
  if not 0 < total < math.inf:
    raise UserError(
      f"the probabilities of {', '.join(shown(n) for n, _ in pairs) or 'none'}"
      f" sum to {total:g}: one must be above 0"
    )
  return tuple(Candidate(name, weight / total) for name, weight in pairs)


def require_share(what: str, value: float) -> None:
  """Refuses a number that is not from 0 to 1."""
  if not 0 <= value <= 1:
    raise UserError(f"{shown(what)} is {value:g}, not from 0 to 1")


def _require_unlike(what: str, every: Sequence[Any]) -> None:
  seen: set[str] = set()
  for one in every:
    if key(one.name) in seen:
      raise UserError(f"{shown(one.name)} is twice among the {what}")
    seen.add(key(one.name))


class _Candidate(TypedDict):
  name: str
  probability: float


class _Attribute(TypedDict):
  name: str
  value: list[_Candidate]
  importance_score: float
  pinned: NotRequired[bool]


class _Relation(_Attribute):
  name_entity_1: str
  name_entity_2: str
  is_bidirectional: bool
  description: str


class _Entity(TypedDict):
  name: str
  importance_score: float
  attributes: list[_Attribute]
  descriptions: str | None
  entity_type: Kind | None
  probability: float
  pinned: NotRequired[bool]


class JSON(TypedDict):
  """The object of a graph, with the keys of the authors' code."""

  all_entities: list[_Entity]
  all_relations: list[_Relation]
  prompt: str | None


def to_json(graph: Graph) -> dict[str, Any]:
  """The object of a graph, to be written by `json.dumps`."""
  return {
    "all_entities": [
      {
        "name": e.name,
        "importance_score": e.importance,
        "attributes": [dict(_unknown(a)) for a in e.attributes],
        "descriptions": e.description,
        "entity_type": e.kind,
        "probability": e.probability,
        **({"pinned": True} if e.pinned else {}),
      }
      for e in graph.entities
    ],
    "all_relations": [
      {
        **dict(_unknown(r)),
        "name_entity_1": r.first,
        "name_entity_2": r.second,
        "is_bidirectional": r.mutual,
        "description": r.description,
      }
      for r in graph.relations
    ],
    "prompt": graph.prompt,
  }


def _unknown(one: Attribute) -> Iterator[tuple[str, Any]]:
  yield "name", one.name
  yield "value", [dataclasses.asdict(c) for c in one.candidates]
  yield "importance_score", one.importance
  if one.pinned:
    yield "pinned", True


def from_json(text: str | bytes) -> Graph:
  """The graph of JSON; the authors' code leaves some sums of probabilities.

  Raises:
    UserError: it is not JSON, or no graph. The message has no subject.
  """
  found: JSON = json_files.parsed(text, JSON)
  entities = tuple(
    Entity(
      e["name"],
      float(e["importance_score"]),
      tuple(Attribute(*_known(a)) for a in e["attributes"]),
      e["entity_type"] or "explicit",
      float(e["probability"]),
      e["descriptions"] or "",
      e.get("pinned", False),
    )
    for e in found["all_entities"]
  )
  relations = tuple(
    Relation(
      *_known(r),
      first=r["name_entity_1"],
      second=r["name_entity_2"],
      description=r["description"],
      mutual=r["is_bidirectional"],
    )
    for r in found["all_relations"]
  )
  return Graph(entities, relations, found["prompt"] or "")


def _known(one: _Attribute) -> tuple[str, float, tuple[Candidate, ...], bool]:
  weights = [(c["name"], float(c["probability"])) for c in one["value"]]
  importance, pinned = float(one["importance_score"]), one.get("pinned", False)
  return one["name"], importance, normalised(weights), pinned
