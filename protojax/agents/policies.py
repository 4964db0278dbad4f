"""What to ask next: a score for every question, and when to ask no more.

A policy is a function of `Beliefs`, so that it is compiled and mapped over many
dialogues. Questions are numbered as in `beliefs.place`. Scores are those of
Hahn et al. (arXiv 2412.06771), as the authors' code has them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.agents.beliefs import Beliefs, entropy
from protojax.types import Array, ArrayLike

# Candidates of this probability are known: not asked for, and the dialogue
# ends when all are.
KNOWN = 0.7
# Of the second rule to stop: nothing that matters is between.
SURE, MATTERS = 0.9, 0.1
NOTHING = -1  # the number of no question


class Chosen(NamedTuple):
  """A question, and its score; `NOTHING` if none is worth asking."""

  question: Int[Array, ""]
  score: Float[Array, ""]


def by_attribute(beliefs: Beliefs, known: float = KNOWN) -> Chosen:
  """Asks for the attribute or relation whose answer tells most ("Ag1").

  The score of an attribute is its entity's importance, times its own, times
  the probability that the entity appears, times the entropy in nats; that of a
  relation is importance times entropy. An attribute is asked for only if it is
  strictly better than every relation. Of an implicit entity the appearance is
  asked for first.

  Args:
    beliefs: of one graph.
    known: what has a candidate of this probability is not asked for; infinity
      asks for all that is open. The code spares attributes alone.
  """
  attributes = (
    (beliefs.weight * beliefs.appears)[:, None]
    * beliefs.attribute_weight
    * entropy(beliefs.attributes)
  )
  relations = beliefs.relation_weight * entropy(beliefs.relations)
  attributes = jnp.where(_asked(beliefs, known)[0], attributes, 0.0)
  relations = jnp.where(_asked(beliefs, known)[1], relations, 0.0)
  e, a, v = beliefs.attributes.shape
  best, other = jnp.argmax(attributes), jnp.argmax(relations)
  entity = best // a
  of_attribute = jnp.where(
    jnp.asarray(beliefs.unsure)[entity], entity, e + best * v
  )
  first = attributes.ravel()[best] > relations[other]
  return _worth(
    jnp.where(first, of_attribute, e + e * a * v + other * v),
    jnp.where(first, attributes.ravel()[best], relations[other]),
  )


def by_candidate(beliefs: Beliefs) -> Chosen:
  """Asks whether the likeliest doubt is true: a question of yes or no.

  The score of a candidate of probability p is p (1 - p) times the importances
  of entity and attribute; that of a relation's is half of its importance.
  """
  weight = jnp.where(
    jnp.asarray(beliefs.attribute_open),
    jnp.asarray(beliefs.weight)[:, None] * beliefs.attribute_weight,
    0.0,
  )
  relation_weight = jnp.where(
    jnp.asarray(beliefs.relation_open), 0.5 * beliefs.relation_weight, 0.0
  )
  scores = jnp.concatenate(
    [
      jnp.ravel(weight[..., None] * _doubt(beliefs.attributes)),
      jnp.ravel(relation_weight[:, None] * _doubt(beliefs.relations)),
    ]
  )
  best = jnp.argmax(scores)
  entities = beliefs.attributes.shape[0]
  return _worth(entities + best, scores[best])


def at_random(beliefs: Beliefs, key: jax.Array) -> Chosen:
  """Asks for any attribute or relation that is open and not certain."""
  e, _, v = beliefs.attributes.shape
  attributes, relations = _asked(beliefs, jnp.inf)
  can = jnp.concatenate(
    [
      jnp.ravel(attributes & (entropy(beliefs.attributes) > 0)),
      relations & (entropy(beliefs.relations) > 0),
    ]
  )
  drawn = jnp.where(can, jax.random.uniform(key, can.shape), -1.0)
  best = jnp.argmax(drawn)
  return _worth(e + best * v, jnp.where(can[best], 1.0, 0.0))


def gains(
  worlds: Int[ArrayLike, "n f"],
  weights: Float[ArrayLike, " n"],
  importance: Float[ArrayLike, " f"],
  values: int,
) -> Float[Array, " f"]:
  """Exact expected gain of asking for each factor: the policy "eig".

  It is what the importance-weighted entropy of all factors is expected to lose
  by the answer. Where factors are independent, it is a factor's own importance
  times its entropy.

  Args:
    worlds: the value of each factor in each world that may be true.
    weights: of the worlds, from 0; they need not sum to 1.
    importance: of each factor.
    values: more than any in `worlds`.
  """
  weights = jnp.asarray(weights) / jnp.sum(jnp.asarray(weights))
  codes = jax.nn.one_hot(jnp.asarray(worlds), values)
  together = jnp.einsum("n,nfv,ngw->fvgw", weights, codes, codes)
  return gains_of(together, importance)


def gains_of(
  together: Float[ArrayLike, "f a f v"], importance: Float[ArrayLike, " f"]
) -> Float[Array, " f"]:
  """The same, from how probable two factors' values are together.

  Args:
    together: that the first factor, which is asked for, has the one value and
      the second one the other. The first values of a are those of v. Others, of
      the asked factor alone, are answers that it has no value: what has none
      is not uncertain.
    importance: of each factor.
  """
  together = jnp.asarray(together)
  v = together.shape[-1]
  now = jnp.einsum("fvfv->fv", together[:, :v])
  before = jnp.sum(_surprise(now), -1) - _surprise(jnp.sum(now, -1))
  after = jnp.sum(_surprise(together), -1) - _surprise(jnp.sum(together, -1))
  return jnp.sum(importance * before) - jnp.sum(after, 1) @ importance


def _surprise(p: Float[Array, "*b"]) -> Float[Array, "*b"]:
  return -p * jnp.log(jnp.where(p > 0, p, 1.0))


def all_known(beliefs: Beliefs, known: float = KNOWN) -> Bool[Array, ""]:
  """Whether what may be asked for has a candidate so probable everywhere."""
  attributes, relations = _asked(beliefs, known)
  return ~(jnp.any(attributes) | jnp.any(relations))


def confident(
  beliefs: Beliefs, sure: float = SURE, matters: float = MATTERS
) -> Bool[Array, ""]:
  """Whether no candidate that matters is between 1 - sure and sure.

  Args:
    beliefs: of one graph.
    sure: at least 0.5.
    matters: entities, attributes and relations of less importance are passed
      over.
  """

  def between(p: Float[ArrayLike, "*b v"]) -> Bool[Array, "*b"]:
    p = jnp.asarray(p)
    return jnp.any((p > 1 - sure) & (p < sure), -1)

  weight = jnp.asarray(beliefs.weight)[:, None]
  counts = (weight >= matters) & (beliefs.attribute_weight >= matters)
  doubts = jnp.any(counts & between(beliefs.attributes))
  counts = jnp.asarray(beliefs.relation_weight) >= matters
  return ~(doubts | jnp.any(counts & between(beliefs.relations)))


def _asked(
  beliefs: Beliefs, known: float
) -> tuple[Bool[Array, "e a"], Bool[Array, " r"]]:
  """Attributes and relations that are open and not known."""
  attributes = jnp.max(beliefs.attributes, -1) < known
  relations = jnp.max(beliefs.relations, -1) < known
  return (
    jnp.asarray(beliefs.attribute_open) & attributes,
    jnp.asarray(beliefs.relation_open) & relations,
  )


def _doubt(p: Float[ArrayLike, "*b v"]) -> Float[Array, "*b v"]:
  p = jnp.asarray(p)
  return p * (1 - p)


def _worth(question: Array, score: Array) -> Chosen:
  return Chosen(jnp.where(score > 0, question, NOTHING), score)
