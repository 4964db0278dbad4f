"""A dialogue: what is asked, answered, edited, painted and saved."""

import json

import numpy as np
import pytest

from protojax.agents import dialogue, editing, facts, language, scenes
from protojax.agents import graph as graphs
from protojax.agents.dialogue import Dialogue
from protojax.agents.facts import NO, YES, Place
from protojax.agents.questions import Question
from protojax.agents.scenes import Fact
from protojax.types import UserError

COLOUR = Place("coin", "colour")
NOTHING = np.zeros((0, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def grammar():
  return scenes.Grammar(scenes.draw(1500, seed=0))


def truth(goal, question):
  """What a truthful user answers, whose goal is certain."""
  found = facts.unknown(goal, question.place)
  if found is None:  # something does not appear in the goal
    return NO if question.value else "I don't know"
  value = found.likeliest.name
  if question.value:
    return YES if question.value == value else NO
  return value


@pytest.mark.parametrize(
  "policy", ["ag1", pytest.param("random", marks=pytest.mark.slow)]
)
def test_true_answers_lead_to_the_goal(grammar, policy):
  """Nothing is asked twice, and what was answered stays certain."""
  goal = scenes.graph_of(scenes.draw(4, seed=5), 3)
  names = [e.name for e in goal.entities if e.kind != "background"]
  assert len(names) > 1
  found = Dialogue(", ".join(names), grammar, policy, known=2.0)
  asked = []
  while (question := found.ask()) is not None and len(asked) < 60:
    assert question.place not in asked
    asked.append(question.place)
    found.answer(question, truth(goal, question))
  assert 2 * len(names) < len(asked) < 60
  assert len(found.turns) == len(asked)
  for place in facts.places(goal):
    if place.name:
      value = facts.require(goal, place).likeliest.name
      assert facts.require(found.belief, place).probability(value) == 1
  again = language.read(found.prompt).facts
  assert {f for f in again if f.holds and f.place.name} >= {
    Fact(p, facts.require(goal, p).likeliest.name)
    for p in facts.places(goal)
    if p.name
  }


def test_questions_of_yes_or_no(grammar):
  """A candidate is asked for once; "no" leaves the others."""
  goal = scenes.graph_of(scenes.draw(1, seed=6), 0)
  name = goal.entities[0].name
  found, asked = Dialogue(f"a {name}", grammar, "binary"), set()
  for _ in range(8):
    question = found.ask()
    assert question.options == (YES, NO)
    assert (question.place, question.value) not in asked
    asked.add((question.place, question.value))
    answer = truth(goal, question)
    found.answer(question, answer)
    one = facts.require(found.belief, question.place)
    assert one.probability(question.value) == (answer == YES)
    assert one.pinned == (answer == YES)


def test_no_policy_asks_nothing(grammar):
  assert Dialogue("a coin", grammar, "none").ask() is None


def test_answers_in_other_words(grammar):
  found = Dialogue("a coin left of a cup", grammar)
  question = dialogue.questions.question(found.belief, COLOUR, 0, False)
  assert question.text == "Which colour does the coin have?"
  found.answer(question, "Crimson, and the cup is tiny. Also two dragons")
  assert found.unknown == ("also", "two", "dragons")
  assert found.prompt == "a red coin, a small cup, the coin is left of the cup"
  assert facts.require(found.belief, COLOUR).pinned
  found.answer(question, "not red")
  assert facts.require(found.belief, COLOUR).probability("red") == 0


def test_what_a_user_does_not_know_is_not_asked_again(grammar):
  found = Dialogue("a coin", grammar, known=2.0)
  first = found.ask()
  found.answer(first, "I don't know")
  assert found.ask().place != first.place
  assert not facts.require(found.belief, first.place).pinned


def test_what_is_no_answer_is_told_and_changes_nothing(grammar):
  found = Dialogue("a coin", grammar)
  before = found.belief
  with pytest.raises(UserError, match=r"does not answer 'Which .*: try '"):
    found.answer(found.ask(), "hm")
  with pytest.raises(UserError, match=r"says nothing .*; it has: coin, cup"):
    found.say("a dragon")
  for place in COLOUR, Place("coin", "position", "cup"), Place("cat"):
    asked = Question(place, "?", ("red",), YES if place == Place("cat") else "")
    with pytest.raises(UserError, match="'hm' does not answer"):
      found.answer(asked, "hm")
  assert found.belief == before
  assert found.turns == ()
  with pytest.raises(UserError, match="nothing to undo"):
    found.undo()


def test_edits_survive_answers_and_are_taken_back(grammar):
  found = Dialogue("a coin", grammar)
  before = found.belief
  found.edit(editing.set_probability, COLOUR, "blue", 0.6)
  found.say("a cup left of the coin")
  colour = facts.require(found.belief, COLOUR)
  np.testing.assert_allclose(colour.probability("blue"), 0.6)
  assert found.belief.entity("cup").kind == "explicit"
  found.undo()
  found.undo()
  assert found.belief == before


def test_what_does_not_appear_is_forgotten(grammar):
  found = Dialogue("a red coin and a cup", grammar)
  found.say("no coin")
  assert found.prompt == "no coin, a cup"
  assert found.belief.entity("coin") is None
  found.say("a coin")
  assert not facts.require(found.belief, COLOUR).pinned


def test_pictures_agree_with_what_was_said(grammar, monkeypatch):
  """The scenes that are painted; how they are painted is tested there."""
  painted = []
  monkeypatch.setattr(
    dialogue.painting, "paint", lambda x: painted.append(x) or NOTHING
  )
  found = Dialogue("a red coin left of a small cup, sketch, no cat", grammar)
  found.generate(200, seed=0)
  (drawn,) = painted
  assert drawn.there[:, 0].all()
  assert drawn.there[:, 1].all()
  assert not drawn.there[:, 2].any()
  assert (drawn.attributes[:, 0, 0] == 0).all()
  assert (drawn.attributes[:, 1, 1] == 0).all()
  assert (drawn.whole[:, 1] == 1).all()
  assert (drawn.relations[:, 0, 1] == 0).mean() > 0.99
  # The rest is drawn.
  assert len(np.unique(drawn.whole[:, 0])) > 1
  found.generate(200, seed=0)
  np.testing.assert_array_equal(painted[0].there, painted[1].there)
  found.edit(
    editing.set_probability, Place("background", "background"), "black", 0.9
  )
  found.generate(400, seed=0)
  np.testing.assert_allclose(
    (painted[2].whole[:, 0] == 1).mean(), 0.9, atol=0.06
  )


def test_a_dialogue_is_saved_and_goes_on(grammar, tmp_path):
  found = Dialogue("a coin, not red", grammar, known=2.0)
  found.answer(found.ask(), "I don't know")
  found.edit(editing.set_importance, COLOUR, 1.0)
  found.answer(found.ask(), found.ask().options[-1])
  found.save(tmp_path / "dialogue.json")
  again = dialogue.load(tmp_path / "dialogue.json", grammar)
  assert again.belief == found.belief
  assert again.turns == found.turns
  assert again.prompt == found.prompt
  # The authors' code reads the belief.
  saved = json.loads((tmp_path / "dialogue.json").read_text())
  assert graphs.from_json(json.dumps(saved["belief"])) == found.belief


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"version": 2}, "dialogue of version 2; this release reads version 1"),
    ({"facts": [["coin", "", ""]]}, "is no dialogue: a fact is cut short"),
    ({"facts": [["yeti", "", "", "yes", True]]}, "no thing 'yeti'"),
    ({"policy": "best"}, "policy"),
    ({"turns": 3}, "turns"),
  ],
)
def test_files_that_are_no_dialogues(grammar, tmp_path, change, message):
  path = tmp_path / "dialogue.json"
  Dialogue("a coin", grammar).save(path)
  path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
  with pytest.raises(UserError, match=message):
    dialogue.load(path, grammar)
