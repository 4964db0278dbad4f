"""Words that mean the same: of sentences, and of a goal and a belief."""

import dataclasses
import math

import numpy as np
import pytest

from protojax.agents import editing, facts, likelihood, words
from protojax.agents.facts import Place
from protojax.agents.graph import Attribute, Candidate, Entity, Graph, Relation
from tests.agents.agent_graphs import drawn, rabbit


@pytest.mark.parametrize(
  ("plural", "one"),
  [
    *(("cups", "cup"), ("boxes", "box"), ("cherries", "cherry")),
    *(("dishes", "dish"), ("children", "child"), ("horses", "horse")),
    # What is none.
    *(("glass", "glass"), ("bus", "bus"), ("this", "this"), ("its", "its")),
    *(("man's", "man's"), ("", "")),
  ],
)
def test_plurals(plural, one):
  assert words.singular(plural) == one


def test_a_word_stands_for_all_that_mean_the_same():
  for old, new in words._SYNONYMS.items():
    assert words.plain(old) == words.plain(f"{old}s") == new
    # Whatever is looked up twice stays.
    assert words.plain(new) == new
  assert words.meaning("The Big  Mugs") == "large cup"
  assert words.meaning("a") == "a"


def said_otherwise():
  """The belief of `rabbit` as another parse has it."""
  belief = editing.rename(rabbit(), "rabbit", "the Rabbits")
  belief = editing.rename(belief, "tree", "Trees")
  rabbits, trees, weather = belief.entities
  colour, size = rabbits.attributes
  tiny = dataclasses.replace(size, candidates=(Candidate("tiny", 1.0),))
  other = dataclasses.replace(colour, name="Colors"), tiny
  rabbits = dataclasses.replace(rabbits, attributes=other)
  (side,) = belief.relations
  side = dataclasses.replace(side, name="places")
  return Graph((rabbits, trees, weather), (side,), belief.prompt)


def test_a_goal_is_matched_by_meaning():
  goal = rabbit()
  for place, value in (
    (Place("rabbit", "colour"), "brown"),
    (Place("tree"), "yes"),
    (Place("tree", "kind"), "oak"),
    (Place("rabbit", "place", "tree"), "left of"),
    (Place("weather", "weather"), "rain"),
  ):
    goal = facts.pin(goal, place, value)
  belief = said_otherwise()
  assert likelihood.negative_log(goal, belief).unmatched == 6
  assert likelihood.named_as(belief, goal) == rabbit()
  found = likelihood.negative_log(goal, likelihood.named_as(belief, goal))
  assert found == likelihood.negative_log(goal, rabbit())
  # A word that no table has is still told.
  hare = likelihood.named_as(
    editing.rename(belief, "the Rabbits", "hare"), goal
  )
  found = likelihood.negative_log(goal, hare, weighted=False)
  assert found.unmatched == 4
  lost = math.log(0.5) + math.log(0.25) + math.log(0.1) + 4 * math.log(1e-10)
  np.testing.assert_allclose(found.value, -lost)


@pytest.mark.parametrize(
  ("place", "value", "expected"),
  [
    (("Rabbits", "color"), "Browns", (Place("rabbit", "colour"), "brown")),
    (("the tree",), "yes", (Place("tree"), "yes")),
    (
      ("rabbits", "places", "a tree"),
      "Right of",
      (Place("rabbit", "place", "tree"), "Right of"),
    ),
    # What is new, as it was said.
    (("hares", "mood"), "sad", (Place("hares", "mood"), "sad")),
    (("rabbits", "mood"), "sad", (Place("rabbit", "mood"), "sad")),
  ],
)
def test_what_a_user_says_is_told_of_what_they_mean(place, value, expected):
  assert facts.meant(rabbit(), Place(*place), value) == expected


@pytest.mark.parametrize("seed", range(6))
def test_a_belief_in_its_own_words_stays(seed):
  assert likelihood.named_as(drawn(seed), drawn(seed)) == drawn(seed)


def test_what_has_its_name_is_not_renamed():
  """Nor is a second one that means the same: names stay apart."""

  def graph(*names):
    sure = Attribute("colour", 1.0, (Candidate("red", 1.0),))
    return Graph(tuple(Entity(name, 1.0, (sure,)) for name in names))

  def named(belief, goal):
    found = likelihood.named_as(graph(*belief), graph(*goal))
    return [e.name for e in found.entities]

  assert named(["cups", "cup"], ["cup"]) == ["cups", "cup"]
  assert named(["cups", "mug"], ["cup"]) == ["cup", "mug"]
  assert named(["mug", "mugs"], ["cup", "mugs"]) == ["cup", "mugs"]
  both = Relation("at", 1.0, (Candidate("in", 1.0),), first="mugs", second="b")
  belief = dataclasses.replace(graph("mugs", "b"), relations=(both,))
  (found,) = likelihood.named_as(belief, graph("cup", "b")).relations
  assert (found.first, found.second) == ("cup", "b")
