"""Dialogues by models of language; the embedded world stands for one."""

import json

import numpy as np
import pytest

from protojax.agents import (
  embedded,
  facts,
  language,
  openai_http,
  prompted,
  providers,
  scenes,
)
from protojax.agents.facts import NO, YES, Place
from protojax.agents.graph import Candidate
from protojax.agents.parsing import Parser
from protojax.agents.prompted import PromptedDialogue
from protojax.agents.questions import Question
from protojax.types import UserError
from tests.agents.provider_stub import says, serving

COLOUR = Place("coin", "colour")
ASKS_FOR_COLOUR = Question(COLOUR, "Which colour does the coin have?", ("red",))


@pytest.fixture(scope="module")
def grammar():
  return scenes.Grammar(scenes.draw(300, seed=0))


@pytest.fixture(scope="module")
def parser(grammar):
  return Parser(embedded.LLM(grammar))


def test_a_description_is_read(parser, grammar):
  """As the grammar reads it: the least likely things are left out."""
  text = "a red coin left of a cup"
  found = parser.graph(text)
  own = grammar.belief(language.read(text).facts, text)
  assert len(found.entities) == 8
  for entity in found.entities:
    same = own.entity(entity.name)
    assert entity.attributes == same.attributes
    assert (entity.kind, entity.probability) == (same.kind, same.probability)
  assert found.relations == own.relations
  assert found.prompt == own.prompt


@pytest.mark.slow
@pytest.mark.parametrize("policy", prompted.POLICIES)
def test_true_answers_lead_to_the_goal(parser, grammar, policy):
  """No answer is asked for twice, and all are pinned at once."""
  goal = "a small red coin, a blue cup, the coin is left of the cup, sketch"
  found = PromptedDialogue("a coin and a cup", parser, None, policy)
  asked = []
  while (question := found.ask()) is not None and len(asked) < 6:
    assert question.text not in asked
    asked.append(question.text)
    answer = parser.answer(goal, question.text)
    if question.value and question.place.name:
      known = grammar.belief(language.read(goal).facts)
      right = facts.unknown(known, question.place)
      answer = YES if right and right.probability(question.value) == 1 else NO
    found.answer(question, answer)
    one = facts.unknown(found.belief, question.place)
    if policy == "ag1" and answer not in ("I don't know", NO):
      assert one.pinned
  assert len(found.turns) == len(asked)
  assert bool(asked) == (policy != "none")
  if policy in ("ag1", "belief-prompted"):
    assert "sketch" in found.prompt or "left of" in found.prompt


@pytest.mark.slow
def test_a_denied_value_stays_denied(parser):
  found = PromptedDialogue("a coin", parser, None, "binary")
  question = Question(COLOUR, "Is the coin red?", (YES, NO), "red")
  found.answer(question, "no")
  assert facts.require(found.belief, COLOUR).probability("red") == 0
  found.say("a cup")
  assert facts.require(found.belief, COLOUR).probability("red") == 0
  found.answer(Question(COLOUR, "Is it blue?", (YES, NO), "blue"), "yes!")
  assert facts.require(found.belief, COLOUR).candidates == (
    Candidate("blue", 1.0),
  )


def test_what_a_user_says_of_things_that_no_parse_has(parser):
  found = prompted.stated(
    parser.graph("a coin"), Place("dragon", "position", "moon"), "above"
  )
  found = prompted.stated(found, Place("dragon", "mood"), "angry")
  assert facts.require(found, Place("dragon", "mood")).pinned
  kept = facts.remember(parser.graph("a coin"), found)
  assert kept.entity("dragon").kind == "asked but forgotten"
  assert facts.require(kept, Place("dragon", "position", "moon")).pinned


def test_what_is_no_answer_changes_nothing(parser):
  found = PromptedDialogue("a coin", parser)
  before = found.belief
  with pytest.raises(UserError, match="'hm' does not answer 'Which"):
    found.answer(ASKS_FOR_COLOUR, "hm")
  with pytest.raises(UserError, match="says nothing that can be seen"):
    found.say("hm")
  with pytest.raises(UserError, match="nothing to undo"):
    found.undo()
  with pytest.raises(UserError, match="name one with --image-model"):
    found.generate(1, 0)
  with pytest.raises(UserError, match="'nothing' names nothing to be seen"):
    PromptedDialogue("nothing", parser)
  assert found.belief == before
  first = found.ask()
  found.answer(first, "I don't know")
  assert found.ask().place != first.place
  found.undo()
  assert found.ask() == first


@pytest.mark.slow
def test_a_dialogue_is_saved_and_goes_on(parser, grammar, tmp_path):
  file = tmp_path / "dialogue.json"
  images = embedded.Images(grammar)
  found = PromptedDialogue("a coin", parser, images, "binary", seed=3)
  found.answer(Question(COLOUR, "Is it red?", (YES, NO), "red"), "no")
  found.answer(found.ask(), "I don't know")
  found.save(file)
  again = prompted.load(file, parser, images)
  assert again.belief == found.belief
  assert again.turns == found.turns
  assert again.ask() == found.ask()
  np.testing.assert_array_equal(again.generate(2, 5), found.generate(2, 5))
  saved = json.loads(file.read_text())
  assert saved["llm"] == "embedded"
  for change, message in (
    ({"version": 7}, "dialogue of version 7; this release reads version 1"),
    ({"denied": [["coin"]]}, "a fact is cut short"),
    ({"policy": "eig"}, "no dialogue of a provider"),
  ):
    file.write_text(json.dumps({**saved, **change}))
    with pytest.raises(UserError, match=message):
      prompted.load(file, parser)


ENTITIES = {
  "entities": [
    {
      "name": name,
      "kind": kind,
      "importance": 0.5,
      "probability": 0.7,
      "description": "",
    }
    for name, kind in (("cat", "explicit"), ("light", "background"))
  ]
}
ATTRIBUTES = {
  "attributes": [
    {
      "name": "fur",
      "importance": 1,
      "candidates": [
        {"name": "grey", "probability": 2},
        {"name": "black", "probability": 2},
      ],
    }
  ]
}


def test_what_a_model_sends_is_put_right_or_refused(monkeypatch):
  """Sums are made 1; a probability below 0 is told to the model."""
  monkeypatch.delenv("OPENAI_API_KEY", raising=False)
  good = [json.dumps(x) for x in (ENTITIES, ATTRIBUTES, ATTRIBUTES)]
  bad = json.dumps(ATTRIBUTES).replace('"probability": 2', '"probability": -1')

  def parse(*texts):
    with serving(says(*texts)) as (base, stub):
      llm = openai_http.LLM(openai_http.remote(base), "m")
      usage = providers.Usage()
      graph = Parser(llm, usage, at_once=1).graph("a cat")
    return graph, usage, stub

  graph, usage, _ = parse(*good)
  cat, light = graph.entities
  assert cat.probability == 1
  assert cat.attribute("fur").candidates == (
    Candidate("grey", 0.5),
    Candidate("black", 0.5),
  )
  assert [a.name for a in light.attributes] == ["light"]
  assert usage.repairs == 0
  graph, usage, stub = parse(good[0], bad, good[1], good[2])
  assert usage.repairs == 1
  assert "is -1: 0 is the least" in json.dumps(stub.asked[2][2])
  with pytest.raises(UserError, match=r"asked twice.*is -1: 0 is the least"):
    parse(good[0], bad)
