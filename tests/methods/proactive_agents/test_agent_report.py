"""The report of agents: words of facts, a drawing, a dialogue."""

from xml.etree import ElementTree

import numpy as np
import pytest

from protojax.agents import choices, likelihood, scenes
from protojax.agents import world as worlds
from protojax.agents.facts import YES, Place
from protojax.agents.judge import FACTS, Judge, Trained
from protojax.agents.questions import Question
from protojax.agents.scenes import Fact
from protojax.methods.proactive_agents import explanation, held, pages

GRAMMAR = scenes.Grammar(scenes.draw(800, seed=0))
GOAL = scenes.draw(1, seed=3)


def test_every_fact_has_words_of_its_own():
  facts = [explanation.words(k) for k in np.flatnonzero(FACTS).tolist()]
  assert len(set(facts)) == len(facts)
  for place, value, text in (
    (Place("cat"), YES, "there is a cat"),
    (Place("cup", "texture"), "dotted", "the cup is dotted"),
    (Place("style", "style"), "mosaic", "the style is mosaic"),
    (
      Place("coin", "position", "cat"),
      "right of",
      "the coin is right of the cat",
    ),
  ):
    assert explanation.words(worlds.cell(place, value)) == text


def test_a_drawing_shows_all_that_is_believed():
  belief = GRAMMAR.belief([Fact(Place("cat"), YES), Fact(Place("cup"), YES)])
  text = str(pages.drawing(belief))
  root = ElementTree.fromstring(text)
  found = [x.tag for x in root]
  assert found.count("circle") == len(belief.entities)
  assert found.count("line") == 1
  assert "cat 100%" in text
  for entity in belief.entities:
    for attribute in entity.attributes:
      assert attribute.likeliest.name in text
  large = {
    x.get("r")
    for x, e in zip(root.iter("circle"), belief.entities, strict=True)
    if e.probability == 1
  }
  assert large == {"30.0"}


@pytest.mark.parametrize(
  ("place", "value", "expected"),
  [
    (("cup",), YES, "yes"),
    (("cat",), YES, "no"),
    (("cup", "colour"), "", "red"),
    (("cup", "colour"), "red", "yes"),
    (("cup", "colour"), "blue", "no"),
    (("cat", "colour"), "", "no cat"),
    (("coin", "position", "cup"), "", "above the cup"),
    (("coin", "position", "cat"), "", "no cat"),
    (("style", "style"), "", "sketch"),
  ],
)
def test_a_user_answers_truly(place, value, expected):
  there = np.zeros((1, 8), bool)
  there[0, [scenes.TYPES.index(t) for t in ("coin", "cup")]] = True
  at = np.zeros((1, 8, 2))
  at[0, scenes.TYPES.index("coin"), 1] = -1
  goal = scenes.Scenes(
    there, np.zeros((1, 8, 3), np.int32), np.array([[0, 1]], np.int32), at
  )
  question = Question(Place(*place), "?", (), value)
  assert held.told(scenes.graph_of(goal, 0), question) == expected


@pytest.mark.slow
def test_a_dialogue_ends_where_all_is_known():
  pytest.importorskip("skimage", reason="needs the demo extra")

  def seen(images):
    return np.full((len(images), worlds.CELLS), 0.5), np.ones((len(images), 1))

  trained = Trained(GRAMMAR, np.zeros(choices.FEATURES), Judge("even", seen))
  turns = list(held.dialogue(trained, GOAL, 60, seed=0))
  assert 5 < len(turns) < 61
  goal = scenes.graph_of(GOAL, 0)
  lost = [
    likelihood.negative_log(goal, x.belief, weighted=False).value for x in turns
  ]
  assert (np.diff(lost) <= 1e-6).all()
  assert lost[-1] < 0.01 < lost[0]
  assert all(turn.score == pytest.approx(0.5) for turn in turns)
  assert len({turn.question for turn in turns}) == len(turns)
