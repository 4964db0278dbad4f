"""Questions: scores against loops over graphs, and gains against all worlds."""

import itertools
import math

import jax
import numpy as np
import pytest

from protojax.agents import beliefs, facts, policies
from protojax.agents.editing import set_probability
from protojax.agents.facts import Place
from protojax.types import UserError
from tests.agents.agent_graphs import drawn, rabbit

SIZES = beliefs.Sizes(4, 3, 6, 4)
SEEDS = range(12)
GAINS = jax.jit(policies.gains, static_argnames="values")
BY_ATTRIBUTE = jax.jit(policies.by_attribute, static_argnames="known")


@pytest.fixture(scope="module")
def batch():
  every = [drawn(seed) for seed in SEEDS]
  return jax.tree.map(
    lambda *x: np.stack(x), *(beliefs.arrays(g, SIZES) for g in every)
  )


@pytest.fixture(scope="module")
def chosen(batch):
  """What each policy asks of each graph, in one program."""

  def one(b, key):
    return {
      "attribute": policies.by_attribute(b),
      "all": policies.by_attribute(b, math.inf),
      "candidate": policies.by_candidate(b),
      "random": policies.at_random(b, key),
      "known": policies.all_known(b),
      "confident": policies.confident(b),
    }

  keys = jax.random.split(jax.random.key(0), len(SEEDS))
  return jax.device_get(jax.jit(jax.vmap(one))(batch, keys))


def asked(graph, question):
  if question == policies.NOTHING:
    return None
  place, candidate = beliefs.place(graph, SIZES, int(question))
  return place, candidate


def naive(graph, known):
  """Score and place of the best attribute, of the best relation."""
  attributes, relations = [(0.0, None)], [(0.0, None)]
  for e in graph.entities:
    for a in e.attributes:
      if not a.pinned and a.likeliest.probability < known:
        score = e.importance * e.probability * a.importance * a.entropy
        asks = e.kind == "implicit" and not e.pinned
        attributes.append((score, Place(e.name, "" if asks else a.name)))
  for r in graph.relations:
    if not r.pinned and r.likeliest.probability < known:
      place = Place(r.first, r.name, r.second)
      relations.append((r.importance * r.entropy, place))
  # The first of equals, as arg max takes it.
  best, other = (max(x, key=lambda y: y[0]) for x in (attributes, relations))
  return best if best[0] > other[0] else other


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "known"), [("attribute", 0.7), ("all", 2.0)])
def test_the_best_attribute_or_relation_is_asked_for(chosen, seed, name, known):
  score, place = naive(drawn(seed), known)
  found = jax.tree.map(lambda x: x[seed], chosen[name])
  np.testing.assert_allclose(found.score, score, rtol=1e-5, atol=1e-7)
  question = asked(drawn(seed), found.question)
  assert (question and question[0]) == place


@pytest.mark.parametrize("seed", SEEDS)
def test_the_likeliest_doubt_is_asked_for(chosen, seed):
  graph, best = drawn(seed), (0.0, None)
  for place in facts.places(graph):
    one = facts.require(graph, place)
    if not place.name or one.pinned:
      continue
    weight = one.importance * (
      0.5 if place.second else graph.entity(place.entity).importance
    )
    for i, c in enumerate(one.candidates):
      score = weight * c.probability * (1 - c.probability)
      # Candidates of two are equally doubtful, to rounding.
      if score > best[0] * (1 + 1e-6):
        best = score, (place, i)
  found = jax.tree.map(lambda x: x[seed], chosen["candidate"])
  np.testing.assert_allclose(found.score, best[0], rtol=1e-5, atol=1e-7)
  question = asked(graph, found.question)
  assert (question is None) == (best[1] is None)
  if question:
    assert question[0] == best[1][0]


@pytest.mark.parametrize("seed", SEEDS)
def test_rules_to_stop_are_those_of_the_code(chosen, seed):
  graph = drawn(seed)
  every = [facts.require(graph, p) for p in facts.places(graph) if p.name]
  least = [x.likeliest.probability for x in every if not x.pinned]
  assert chosen["known"][seed] == (min(least, default=1) >= 0.7)

  def between(one):
    return any(1 - 0.9 < c.probability < 0.9 for c in one.candidates)

  doubts = [
    a
    for e in graph.entities
    for a in e.attributes
    if min(e.importance, a.importance) >= 0.1 and between(a)
  ] + [r for r in graph.relations if r.importance >= 0.1 and between(r)]
  assert chosen["confident"][seed] == (not doubts)


def test_a_random_question_is_open_and_uncertain(batch):
  ask = jax.jit(jax.vmap(policies.at_random, (None, 0)))
  for seed in SEEDS:
    graph = drawn(seed)
    one = jax.tree.map(lambda x, i=seed: x[i], batch)
    found = ask(one, jax.random.split(jax.random.key(1), 64)).question
    wanted = {
      p
      for p in facts.places(graph)
      if p.name
      and not facts.require(graph, p).pinned
      and facts.require(graph, p).entropy > 0
    }
    asks = {asked(graph, q) for q in np.asarray(found)}
    assert {q[0] for q in asks if q} <= wanted
    assert (None in asks) == (not wanted)
    # Of 64 draws among at most 18.
    assert len(asks) >= min(len(wanted), 2)


def test_what_was_asked_for_is_never_asked_for_again():
  graph, seen = rabbit(), []
  while True:
    found = BY_ATTRIBUTE(beliefs.arrays(graph), known=math.inf)
    if found.question == policies.NOTHING:
      break
    place, _ = beliefs.place(graph, beliefs.sizes([graph]), int(found.question))
    assert place not in seen
    seen.append(place)
    value = facts.require(graph, place).candidates[-1 if place.name else 0]
    graph = facts.pin(graph, place, value.name)
  # The tree itself is asked for before its kind; nothing else is uncertain.
  assert seen.index(Place("tree")) < seen.index(Place("tree", "kind"))
  assert len(seen) == 5
  assert not facts.require(graph, Place("rabbit", "size")).pinned


def test_what_a_user_set_is_not_asked_for():
  graph = set_probability(rabbit(), Place("rabbit", "colour"), "white", 0.5)
  found = BY_ATTRIBUTE(beliefs.arrays(graph), known=math.inf)
  place, _ = beliefs.place(graph, beliefs.sizes([graph]), int(found.question))
  assert place != Place("rabbit", "colour")


def test_larger_arrays_ask_the_same():
  graph = rabbit()
  for size in beliefs.sizes([graph]), SIZES:
    found = BY_ATTRIBUTE(beliefs.arrays(graph, size))
    place, _ = beliefs.place(graph, size, int(found.question))
    assert place == Place("rabbit", "colour")
  with pytest.raises(UserError, match="has 3 entities, and its arrays hold 2"):
    beliefs.arrays(graph, SIZES._replace(entities=2))
  with pytest.raises(UserError, match="no question of these"):
    beliefs.place(graph, SIZES, 10**6)


def entropy(p):
  p = np.asarray(p)[np.asarray(p) > 0]
  return -(p * np.log(p)).sum()


def test_gains_are_those_of_counting_all_worlds():
  rng = np.random.default_rng(0)
  shape = 3, 2, 4
  worlds = np.array(list(itertools.product(*map(range, shape))))
  weights = rng.gamma(0.5, size=len(worlds))
  importance = rng.random(3)
  p = (weights / weights.sum()).reshape(shape)

  def total(q):
    """Importance-weighted entropy of the factors of a joint distribution."""
    q = q / q.sum()
    axes = range(q.ndim)
    return sum(
      importance[f] * entropy(q.sum(axis=tuple(set(axes) - {f}))) for f in axes
    )

  gains = GAINS(worlds, weights, importance, values=4)
  for f, n in enumerate(shape):
    left = 0.0
    for value in range(n):
      at = [slice(None)] * 3
      at[f] = slice(value, value + 1)
      part = np.zeros(shape)
      part[tuple(at)] = p[tuple(at)]
      left += part.sum() * total(part)
    np.testing.assert_allclose(gains[f], total(p) - left, atol=1e-5)


def test_the_gain_of_an_independent_factor_is_its_weighted_entropy():
  rng = np.random.default_rng(1)
  factors = [rng.dirichlet(np.ones(n)) for n in (3, 2, 4)]
  worlds = np.array(list(itertools.product(*(range(len(p)) for p in factors))))
  weights = np.array(
    [math.prod(p[i] for p, i in zip(factors, w, strict=True)) for w in worlds]
  )
  importance = rng.random(3)
  found = GAINS(worlds, weights, importance, values=4)
  expected = importance * [entropy(p) for p in factors]
  np.testing.assert_allclose(found, expected, atol=1e-5)
