"""Belief graphs as arrays, so that many of them are asked about at once.

Axes: e entities, a attributes of each, r relations, v candidates. What a graph
has less of is filled up: of weight 0, closed, and certain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float
import numpy as np

from protojax.agents.facts import Place
from protojax.agents.graph import Attribute, Graph
from protojax.shown import shown
from protojax.types import Array, ArrayLike, UserError


class Sizes(NamedTuple):
  """How many of each the arrays hold."""

  entities: int
  attributes: int
  relations: int
  candidates: int


class Beliefs(NamedTuple):
  """The numbers of a graph; a batch of graphs has leading axes.

  Attributes:
    appears: probability of each entity [e].
    weight: importance of each entity [e].
    unsure: whether its appearance may be asked for [e]: it is implicit and not
      pinned.
    attribute_weight: importance of each attribute [e a].
    attributes: probabilities [e a v].
    attribute_open: whether an attribute may be asked for [e a].
    relation_weight: importance [r].
    relations: probabilities [r v].
    relation_open: whether a relation may be asked for [r].
  """

  appears: Float[ArrayLike, "*b e"]
  weight: Float[ArrayLike, "*b e"]
  unsure: Bool[ArrayLike, "*b e"]
  attribute_weight: Float[ArrayLike, "*b e a"]
  attributes: Float[ArrayLike, "*b e a v"]
  attribute_open: Bool[ArrayLike, "*b e a"]
  relation_weight: Float[ArrayLike, "*b r"]
  relations: Float[ArrayLike, "*b r v"]
  relation_open: Bool[ArrayLike, "*b r"]


def sizes(graphs: Sequence[Graph]) -> Sizes:
  """The least that holds all of the graphs; at least 1 of each."""
  every = [
    x for graph in graphs for e in graph.entities for x in e.attributes
  ] + [x for graph in graphs for x in graph.relations]
  entities = [e for graph in graphs for e in graph.entities]
  return Sizes(
    max((len(g.entities) for g in graphs), default=0) or 1,
    max((len(e.attributes) for e in entities), default=0) or 1,
    max((len(g.relations) for g in graphs), default=0) or 1,
    max((len(x.candidates) for x in every), default=0) or 1,
  )


def arrays(graph: Graph, size: Sizes | None = None) -> Beliefs:
  """The numbers of a graph, in its own order.

  Raises:
    UserError: the sizes are smaller than the graph.
  """
  own = sizes([graph])
  size = size or own
  for name, has, fits in zip(Sizes._fields, own, size, strict=True):
    if has > fits:
      raise UserError(f"a graph has {has} {name}, and its arrays hold {fits}")
  e, a, r, v = size
  found = Beliefs(
    np.ones(e, np.float32),
    np.zeros(e, np.float32),
    np.zeros(e, bool),
    np.zeros((e, a), np.float32),
    _certain((e, a), v),
    np.zeros((e, a), bool),
    np.zeros(r, np.float32),
    _certain((r,), v),
    np.zeros(r, bool),
  )
  for i, entity in enumerate(graph.entities):
    found.appears[i], found.weight[i] = entity.probability, entity.importance
    found.unsure[i] = entity.kind == "implicit" and not entity.pinned
    for k, one in enumerate(entity.attributes):
      found.attribute_weight[i, k] = one.importance
      found.attributes[i, k] = _padded(one, v)
      found.attribute_open[i, k] = not one.pinned
  for i, one in enumerate(graph.relations):
    found.relation_weight[i] = one.importance
    found.relations[i] = _padded(one, v)
    found.relation_open[i] = not one.pinned
  return found


def place(graph: Graph, size: Sizes, question: int) -> tuple[Place, int]:
  """Where in a graph a question of `policies` is, and of which candidate.

  Questions are numbered: the appearances [e], then the candidates of the
  attributes [e a v], then those of the relations [r v].

  Raises:
    UserError: there is no such question.
  """
  e, a, r, v = size
  if 0 <= question < e:
    return Place(graph.entities[question].name), 0
  question -= e
  if 0 <= question < e * a * v:
    i, k, candidate = np.unravel_index(question, (e, a, v))
    entity = graph.entities[i]
    return Place(entity.name, entity.attributes[k].name), int(candidate)
  question -= e * a * v
  if 0 <= question < r * v:
    i, candidate = divmod(question, v)
    one = graph.relations[i]
    return Place(one.first, one.name, one.second), candidate
  raise UserError(f"{shown(str(question))} is no question of these beliefs")


def entropy(probabilities: Float[ArrayLike, "*b v"]) -> Float[Array, "*b"]:
  """In nats; of 0 the logarithm counts nothing."""
  p = jnp.asarray(probabilities)
  return -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0), -1)


def _certain(shape: tuple[int, ...], candidates: int) -> np.ndarray:
  found = np.zeros((*shape, candidates), np.float32)
  found[..., 0] = 1
  return found


def _padded(one: Attribute, candidates: int) -> np.ndarray:
  found = np.zeros(candidates, np.float32)
  found[: len(one.candidates)] = [c.probability for c in one.candidates]
  return found
