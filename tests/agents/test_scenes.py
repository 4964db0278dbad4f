"""The world of scenes: its sentences, and beliefs counted over its scenes."""

import numpy as np
import pytest

from protojax.agents import facts, language, likelihood, scenes
from protojax.agents.facts import NO, YES, Place
from protojax.agents.scenes import Fact
from protojax.types import UserError

COIN, CUP = Place("coin"), Place("cup")
RED = Fact(Place("coin", "colour"), "red")


@pytest.fixture(scope="module")
def grammar():
  return scenes.Grammar(scenes.draw(2000, seed=0))


def facts_of(graph):
  """All that is certain, as facts."""
  every = [(p, facts.require(graph, p)) for p in facts.places(graph)]
  return [
    Fact(place, one.likeliest.name)
    for place, one in every
    if not (place.entity in scenes.WHOLE and not place.name)
  ]


@pytest.mark.parametrize(
  "count", [40, pytest.param(1000, marks=pytest.mark.slow)]
)
def test_what_is_said_is_read_again(count):
  """Of each scene a part of the facts; some are denied."""
  drawn, rng = scenes.draw(count, seed=1), np.random.default_rng(0)
  for index in range(count):
    told = []
    for fact in facts_of(scenes.graph_of(drawn, index)):
      if not fact.place.name:
        told.append(fact)
      elif rng.random() < 0.6:
        told.append(fact._replace(holds=bool(rng.random() < 0.9)))
    there = {fact.place.entity for fact in told}
    away = next(t for t in scenes.TYPES if t not in there)
    told.append(Fact(Place(away), NO))
    read = language.read(language.say(told))
    assert set(read.facts) == set(told)
    assert read.unknown == ()


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    (
      "A SMALL red coin!",
      {(COIN, YES), RED[:2], (Place("coin", "size"), "small")},
    ),
    ("the coin is crimson", {(COIN, YES), RED[:2]}),
    ("money, red. ", {(COIN, YES), RED[:2]}),
    (
      "a mug on top of the coin",
      {(COIN, YES), (CUP, YES), (Place("coin", "position", "cup"), "below")},
    ),
    (
      "a coin to the left of a red cup",
      {
        *((COIN, YES), (CUP, YES), (Place("cup", "colour"), "red")),
        (Place("coin", "position", "cup"), "left of"),
      },
    ),
    (
      "a kitten as a drawing on an orange background",
      {
        *((Place("cat"), YES), (Place("style", "style"), "sketch")),
        (Place("background", "background"), "orange"),
      },
    ),
    ("a cup but no coin", {(CUP, YES), (COIN, NO)}),
    ("Mugs, kittens", {(CUP, YES), (Place("cat"), YES)}),
    ("roses", {(Place("flower"), YES)}),
    ("a red coin. without the coin", {(COIN, NO)}),
    ("a red coin. The coin is blue", {(COIN, YES), (RED.place, "blue")}),
    ("", set()),
  ],
)
def test_sentences_of_other_words(text, expected):
  found = language.read(text).facts
  assert {f[:2] for f in found} == expected
  assert all(f.holds for f in found)


def test_what_is_denied_is_no_candidate(grammar):
  found = language.read("a coin that is not red, not left of a cup").facts
  assert RED._replace(holds=False) in found
  side = Place("coin", "position", "cup")
  assert Fact(side, "left of", holds=False) in found
  belief = grammar.belief(found)
  for place, value in ((RED.place, "red"), (side, "left of")):
    one = facts.require(belief, place)
    assert one.probability(value) == 0
    np.testing.assert_allclose(sum(c.probability for c in one.candidates), 1)
  # Said to be so later, it is.
  assert language.merged(found, [RED])[-1] == RED
  assert RED._replace(holds=False) not in language.merged(found, [RED])


def test_words_of_no_meaning_are_named():
  found = language.read("two dragons and a red purple coin")
  assert found.unknown == ("two", "dragons", "purple")
  assert set(found.facts) == {Fact(COIN, YES), RED}


def test_what_is_said_is_certain_and_the_rest_is_counted(grammar):
  told = language.read("a red coin").facts
  belief = grammar.belief(told, "a red coin")
  assert belief.prompt == "a red coin"
  assert belief.entity("coin").kind == "explicit"
  assert facts.require(belief, RED.place).probability("red") == 1
  found = grammar.scenes
  agree = found.there[:, 0] & (found.attributes[:, 0, 0] == 0)
  assert agree.sum() > 50
  # By loops over the scenes that agree, and all that have a cup.
  both = [i for i in np.flatnonzero(agree) if found.there[i, 1]]
  before = (found.there[:, 1].sum() + 0.5) / (found.size + 1)
  np.testing.assert_allclose(
    belief.entity("cup").probability,
    (len(both) + 10 * before) / (agree.sum() + 10),
  )
  weights = []
  cups = found.there[:, 1]
  for code in range(4):
    of_cups = sum(
      found.attributes[i, 1, 0] == code for i in np.flatnonzero(cups)
    )
    own = sum(found.attributes[i, 1, 0] == code for i in both)
    before = (of_cups + 0.5) / (cups.sum() + 1)
    weights.append((own + 10 * before) / (len(both) + 10))
  colour = facts.require(belief, Place("cup", "colour"))
  np.testing.assert_allclose(
    [c.probability for c in colour.candidates], np.array(weights) / sum(weights)
  )


@pytest.mark.parametrize(
  "count", [25, pytest.param(250, marks=pytest.mark.slow)]
)
def test_beliefs_are_calibrated_on_scenes_that_were_not_counted(grammar, count):
  """Within four standard errors in each of ten bins.

  Every thing of a scene is told by itself: to tell the first of several says
  that those before it are not there.
  """
  held_out = scenes.draw(count, seed=1)
  said, came = [], []
  beliefs = {t: grammar.belief([Fact(Place(t), YES)]) for t in scenes.TYPES}
  for index in range(count):
    goal = scenes.graph_of(held_out, index)
    there = [e.name for e in goal.entities if e.kind != "background"]
    for first in there:
      belief = beliefs[first]
      for place in facts.places(belief):
        one = facts.require(belief, place)
        if not place.name and place.entity not in (first, *scenes.WHOLE):
          said.append(one.probability(YES))
          came.append(place.entity in there)
        elif place.name and place.entity in there:
          truth = facts.require(goal, place).likeliest.name
          said += [c.probability for c in one.candidates]
          came += [c.name == truth for c in one.candidates]
  said, came = np.array(said), np.array(came)
  assert len(said) > 50 * count
  bins = np.minimum((10 * said).astype(int), 9)
  for b in set(bins):
    p, n = said[bins == b], np.sum(bins == b)
    error = np.sqrt(np.sum(p * (1 - p))) / n
    assert abs(came[bins == b].mean() - p.mean()) < 4 * error + 0.01


def test_true_answers_never_raise_the_likelihood_of_a_goal(grammar):
  """Each fact of a scene is told in turn, and pinned at once."""
  drawn = scenes.draw(2, seed=2)
  for index in range(drawn.size):
    goal = scenes.graph_of(drawn, index)
    every = facts_of(goal)
    belief = grammar.belief([f for f in every if not f.place.name])
    last = likelihood.negative_log(goal, belief)
    assert last.unmatched == 0
    for fact in every:
      belief = facts.pin(belief, fact.place, fact.value)
      now = likelihood.negative_log(goal, belief)
      assert now.value <= last.value + 1e-9
      last = now
    np.testing.assert_allclose(last.value, 0, atol=1e-9)


def test_scenes_are_of_the_world():
  found = scenes.draw(400, seed=3)
  number = found.there.sum(1)
  assert set(number) == {1, 2, 3, 4}
  other = np.array([1, 0, 3, 2])
  pairs = ~np.eye(len(scenes.TYPES), dtype=bool)
  mirrored = np.swapaxes(found.relations, 1, 2)
  # At corners two are as far apart along both axes.
  x, y = np.moveaxis(np.abs(found.at[:, :, None] - found.at[:, None]), -1, 0)
  pairs = pairs & (x != y)
  np.testing.assert_array_equal(found.relations[pairs], other[mirrored][pairs])
  np.testing.assert_array_equal(found.there, scenes.draw(400, seed=3).there)
  assert (found.there != scenes.draw(400, seed=4).there).any()


@pytest.mark.parametrize(
  ("fact", "message"),
  [
    (Fact(Place("dragon"), YES), "no thing 'dragon'; it has: coin, cup"),
    (RED._replace(value="pink"), "no colour 'pink'; it has: red, gr"),
    (Fact(Place("coin", "age"), "old"), "no attribute 'age'"),
    (Fact(Place("style", "style"), "oil"), "no style 'oil'"),
    (Fact(Place("coin", "position", "cup"), "in"), "no position 'in'"),
  ],
)
def test_what_is_not_in_the_world_is_named(grammar, fact, message):
  with pytest.raises(UserError, match=message):
    grammar.agreeing([fact])
