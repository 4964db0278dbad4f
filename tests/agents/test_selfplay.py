"""Many dialogues at once: beliefs and figures of the ones held in names."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.agents import (
  beliefs,
  choices,
  facts,
  likelihood,
  scenes,
  selfplay,
)
from protojax.agents import world as worlds
from protojax.agents.facts import NO, YES, Place
from protojax.agents.policies import NOTHING
from protojax.agents.scenes import Fact
from protojax.agents.selfplay import User
from protojax.types import UserError

GRAMMAR = scenes.Grammar(
  scenes.draw(2000, seed=0),
  scenes.EQUAL._replace(
    things={t: 0.2 + 0.1 * i for i, t in enumerate(scenes.TYPES)},
    attributes={"colour": 1.0, "size": 0.5, "texture": 0.25},
    whole={"background": 0.9, "style": 0.4},
    relation=0.7,
  ),
)
GOALS = scenes.draw(24, seed=1)
# Of all tests, so that they play by one program.
TURNS = 4
NAMES = (*scenes.TYPES, *scenes.WHOLE)


@pytest.fixture(scope="module")
def world():
  return jax.device_put(worlds.world(GRAMMAR))


@pytest.fixture(scope="module")
def told_of(world):
  """What was told by facts, in numbers."""

  def tell(world, cells, holds):
    def one(told, fact):
      return worlds.tell(world, told, *fact), None

    start = worlds.first_told(world, np.zeros(len(scenes.TYPES), bool))
    told, _ = jax.lax.scan(one, start, (cells, holds))
    return told, worlds.believe(world, told)

  compiled = jax.jit(tell)

  def told_of(said):
    cells, holds = np.full(6, -1), np.ones(6, bool)
    for i, fact in enumerate(said):
      of_none = fact.value == NO and not fact.place.name
      cells[i] = worlds.cell(fact.place, fact.value)
      holds[i] = fact.holds and not of_none
    return jax.device_get(compiled(world, cells, holds))

  return told_of


SAID = (
  [],
  [Fact(Place("cat"), YES)],
  [Fact(Place("cat"), YES), Fact(Place("cup"), YES), Fact(Place("coin"), NO)],
  [Fact(Place("cup", "colour"), "red"), Fact(Place("style", "style"), "photo")],
  [Fact(Place("cat", "size"), "small", False), Fact(Place("rocket"), YES)],
  [
    Fact(Place("coin", "position", "cat"), "above"),
    Fact(Place("coin", "texture"), "plain"),
    Fact(Place("cat", "colour"), "blue"),
  ],
)


@pytest.mark.parametrize("said", SAID, ids=lambda said: str(len(said)))
def test_beliefs_are_those_of_the_grammar(told_of, said):
  graph = GRAMMAR.belief(
    [
      *said,
      # What has an attribute or a place is there, as a dialogue adds.
      *(
        Fact(Place(name), YES)
        for fact in said
        if fact.place.name
        for name in (fact.place.entity, fact.place.second)
        if name in scenes.TYPES
      ),
    ]
  )
  told, found = told_of(said)
  p = np.asarray(worlds.probabilities(found))
  left_out = set(NAMES) - {e.name for e in graph.entities}
  for name in left_out:
    assert found.weight[NAMES.index(name)] == 0
  seen = 0
  for place in facts.places(graph):
    one = facts.require(graph, place)
    for candidate in one.candidates:
      if not place.name and candidate.name == NO:
        continue
      got = p[worlds.cell(place, candidate.name)]
      assert got == pytest.approx(candidate.probability, abs=2e-6)
      seen += 1
  assert seen > 80
  weighted = {place for place in facts.places(graph) if place.second}
  assert np.count_nonzero(found.relation_weight) == len(weighted)
  holds = worlds.cells(GRAMMAR.scenes)
  cells = np.flatnonzero(told.yes), np.flatnonzero(told.no)
  against = (~holds[:, cells[0]]).sum(1) + holds[:, cells[1]].sum(1)
  np.testing.assert_array_equal(told.against, against)


@pytest.mark.slow
def test_the_figures_of_the_first_prompt(world):
  """The likelihood is the one of graphs; nothing but the things was told."""
  found = selfplay.play(world, GOALS, "none", TURNS)
  times = TURNS + 1
  assert (found.question == NOTHING).all()
  for i in range(GOALS.size):
    named = [
      Fact(Place(scenes.TYPES[t]), YES) for t in np.flatnonzero(GOALS.there[i])
    ]
    goal, belief = scenes.graph_of(GOALS, i), GRAMMAR.belief(named)
    plain = likelihood.negative_log(goal, belief, weighted=False)
    assert found.unweighted[i] == pytest.approx([plain.value] * times, rel=1e-5)
    known = likelihood.negative_log(_weighted(goal, belief), belief)
    assert found.weighted[i] == pytest.approx([known.value] * times, rel=1e-5)
    facts_of_goal = sum(1 for _ in facts.places(goal)) - len(scenes.WHOLE)
    f1 = 2 * len(named) / (len(named) + facts_of_goal)
    assert found.told[i] == pytest.approx([f1] * times, rel=1e-5)
    assert (found.recall[i] >= len(named) / facts_of_goal - 1e-6).all()


def _weighted(goal, belief):
  """The goal with the importances of the world."""

  def like(one, own):
    return dataclasses.replace(one, importance=own.importance)

  return dataclasses.replace(
    goal,
    entities=tuple(
      dataclasses.replace(
        e,
        importance=belief.entity(e.name).importance,
        attributes=tuple(
          like(a, belief.entity(e.name).attribute(a.name)) for a in e.attributes
        ),
      )
      for e in goal.entities
    ),
    relations=tuple(
      like(r, belief.relation(r.first, r.second, r.name))
      for r in goal.relations
    ),
  )


@pytest.fixture(scope="module")
def played(world):
  learned = selfplay.fit(world, scenes.draw(60, seed=2), TURNS)
  assert np.isfinite(learned).all()
  return {
    policy: selfplay.play(world, GOALS, policy, TURNS, learned=learned)
    for policy in selfplay.POLICIES
  }


@pytest.mark.slow
@pytest.mark.parametrize(
  "policy", [p for p in selfplay.POLICIES if p not in ("binary", "none")]
)
def test_what_was_asked_is_known_and_not_asked_again(played, policy):
  found = played[policy]
  for asked in found.question:
    unknowns = worlds.UNKNOWN[asked[asked != NOTHING]]
    assert len(set(unknowns)) == len(unknowns) > 0
  # What is told is true, and so in every picture.
  assert (np.diff(found.told) >= -1e-6).all()
  assert (
    found.recall >= 0.5 * found.told / (1 - 0.5 * found.told) - 1e-5
  ).all()


@pytest.mark.slow
def test_agents_who_think_know_more_than_those_who_do_not(played):
  """The exact gain and Ag1 against random questions, goal by goal."""
  for policy, other in itertools.product(("ag1", "eig"), ("random", "none")):
    less = played[other].weighted - played[policy].weighted
    assert less[:, 3].mean() > 2 * less[:, 3].std() / np.sqrt(GOALS.size)


@pytest.mark.slow
def test_the_exact_gain_is_that_of_beliefs_after_each_answer(world):
  """What "eig" asks first is among the best by enumeration.

  Beliefs are drawn to the prior anew after an answer, and some scenes stand for
  all that agree, so that the first few may change places.
  """
  goals = scenes.Scenes(*(x[:4] for x in GOALS))
  chosen = selfplay.play(world, goals, "eig", TURNS).question[:, 0]
  believe, tell = jax.jit(worlds.believe), jax.jit(worlds.tell)
  weight = np.asarray(worlds.importances(world))
  for things, question in zip(goals.there, chosen, strict=True):
    told = worlds.first_told(world, things)
    before = jax.device_get(believe(world, told))
    p, gains = np.asarray(worlds.probabilities(before)), {}
    for unknown in np.flatnonzero(worlds.open_unknowns(before)):
      cells = np.flatnonzero((unknown == worlds.UNKNOWN) & worlds.EXISTS)
      thing = worlds.NEEDS[unknown][0]
      there = p[thing] if unknown >= len(NAMES) else 1.0
      answers = [(c, True, there * p[c]) for c in cells]
      answers.append((thing, False, 1 - sum(share for *_, share in answers)))
      left = sum(
        share * _uncertain(believe(world, tell(world, told, *said)), weight)
        for *said, share in answers
        if share > 1e-6
      )
      gains[cells[0]] = _uncertain(before, weight) - left
    assert question in sorted(gains, key=gains.get, reverse=True)[:3]


def _uncertain(found, weight):
  """Importance-weighted entropy; what is not there has none."""
  found = jax.device_get(found)
  p = np.asarray(found.appears)
  both = np.stack([p, 1 - p], -1)
  there = p[worlds.NEEDS].prod(-1)
  same = worlds.NEEDS[:, 0] == worlds.NEEDS[:, 1]
  there = np.where(same, p[worlds.NEEDS[:, 0]], there)
  there[: len(NAMES)] = 1
  values = [both, found.attributes.reshape(-1, 4), found.relations]
  entropy = np.concatenate([np.asarray(beliefs.entropy(x)) for x in values])
  first = np.searchsorted(worlds.UNKNOWN, np.arange(worlds.UNKNOWNS))
  return float((weight[first] * there * entropy).sum())


@pytest.mark.slow
def test_users_who_are_wrong_or_silent(world):
  """Wrong answers lead away from the goal; no answer tells nothing."""
  wrong = selfplay.play(world, GOALS, "ag1", TURNS, user=User(wrong=1.0))
  assert wrong.told[:, -1].mean() < wrong.told[:, 0].mean()
  assert wrong.weighted[:, -1].mean() > wrong.weighted[:, 0].mean()
  silent = selfplay.play(world, GOALS, "ag1", TURNS, user=User(silent=1.0))
  assert (silent.weighted == silent.weighted[:, :1]).all()
  asked = worlds.UNKNOWN[silent.question[(silent.question >= 0).all(1)]]
  assert all(len(set(row)) == TURNS for row in asked)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_dialogues(world, played):
  again = selfplay.play(world, GOALS, "random", TURNS)
  for name, one, other in zip(
    again._fields, again, played["random"], strict=True
  ):
    np.testing.assert_array_equal(one, other, err_msg=name)
  other = selfplay.play(world, GOALS, "random", TURNS, seed=1)
  assert (other.question != again.question).any()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["ag1", "binary", "eig"])
def test_a_dialogue_is_the_same_by_itself(world, policy):
  """Turn by turn, without the program that all goals and policies share."""
  goals = scenes.Scenes(*(x[:2] for x in GOALS))
  user, learned = User(0.3, 0.2), np.linspace(-1, 1, choices.FEATURES)
  found = selfplay.play(world, goals, policy, TURNS, 3, user, learned)
  keys = jax.random.split(jax.random.key(3), goals.size)
  for i, goal in enumerate(jnp.asarray(worlds.cells(goals))):
    told = worlds.first_told(world, goal[: len(scenes.TYPES)])
    for turn in range(2):
      asks, answers, paints = selfplay._parts(keys[i], turn)
      belief = worlds.believe(world, told)
      now = choices.Now(world, told, belief, turn, asks, learned)
      asked = choices.CHOOSES[policy](now)
      assert asked == found.question[i, turn]
      figures = selfplay._figures(world, goal, told, belief, paints)
      np.testing.assert_allclose(
        [x[i, turn] for x in found[1:]], np.array(figures), rtol=1e-6, atol=1e-6
      )
      binary = policy == "binary"
      told = selfplay.answered(world, told, goal, asked, binary, user, answers)


@pytest.mark.parametrize("size", [1, 30])
def test_the_nth_that_is_true(size):
  true = np.random.default_rng(size).random(size) < 0.4
  true[-1] = True
  found = jax.jit(worlds.nth)(true, np.arange(true.sum()) + 1)
  np.testing.assert_array_equal(found, np.flatnonzero(true))


def test_a_policy_that_has_not_learned_is_refused(world):
  with pytest.raises(UserError, match="see selfplay"):
    selfplay.play(world, GOALS, "learned", 2)
