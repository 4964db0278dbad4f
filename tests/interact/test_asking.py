"""The page of a dialogue, without a browser: what is sent, shown and saved."""

import json

import numpy as np
import pytest

from protojax.agents import scenes
from protojax.agents import trace as traces
from protojax.agents.dialogue import Dialogue
from protojax.agents.trace import Trace
from protojax.interact.asking import Asking
from protojax.types import UserError


@pytest.fixture(scope="module")
def grammar():
  return scenes.Grammar(scenes.draw(500, seed=0))


@pytest.fixture
def made(grammar, tmp_path):
  """A session, and its file."""
  file = tmp_path / "dialogue.json"
  spoken = Dialogue("a red coin and a cup", grammar)
  trace = Trace(tmp_path / "trace.jsonl")
  trace.begin(
    spoken,
    {
      "version": traces.VERSION,
      "llm": "",
      "images": "",
      "policy": "ag1",
      "seed": 0,
      "prompt": "a red coin and a cup",
    },
  )
  return Asking(spoken, trace, lambda: spoken.save(file), 0), file


def entity(state, name):
  every = state["belief"]["all_entities"]
  return next(e for e in every if e["name"] == name)


def test_a_dialogue_on_a_page(made, grammar):
  """What is done is saved and in the trace, step by step."""
  session, file = made
  state = session.state()
  assert state["question"]["options"]
  assert json.loads(json.dumps(state)) == state
  answer = state["question"]["options"][-1]
  after = session.say({"text": f" {answer} "})
  assert after["turns"] == [[state["question"]["text"], answer]]
  assert json.loads(file.read_text())["turns"] == after["turns"]
  size = ["cup", "size", ""]
  moved = session.edit(
    {"edit": "set_probability", "place": size, "values": ["small", 0.25]}
  )
  attribute = entity(moved, "cup")["attributes"][1]
  assert attribute["name"] == "size"
  assert attribute["pinned"]
  assert {c["name"]: c["probability"] for c in attribute["value"]}[
    "small"
  ] == pytest.approx(0.25)
  # A whole number is a number, too.
  session.edit({"edit": "set_importance", "place": size, "values": [1]})
  assert session.undo({})["belief"] == moved["belief"]
  # Done again, edits too, it comes out the same.
  path = file.parent / "trace.jsonl"
  again = list(
    traces.replayed(path, lambda begun: Dialogue(begun["prompt"], grammar))
  )
  assert [x.do for x in again] == ["begin", "answer", "edit", "edit", "undo"]
  assert all(x.same for x in again)


def test_what_was_not_understood_is_of_the_last_text(made):
  session, _ = made
  size = {"edit": "set_importance", "place": ["cup", "size", ""], "values": [1]}
  for step in (
    lambda: session.edit(size),
    lambda: session.undo({}),
    lambda: session.say({"text": "I don't know"}),
    lambda: session.say({"text": "the cup is small"}),
  ):
    assert session.say({"text": "sketch, a dragon"})["unknown"] == ["dragon"]
    with pytest.raises(UserError, match="does not answer"):
      session.say({"text": "hm"})
    assert session.state()["unknown"] == ["dragon"]
    assert step()["understood"]


def test_pictures_say_what_they_show(made, monkeypatch):
  """As the scenes have it that they are painted from."""
  session, _ = made
  seeds = []
  monkeypatch.setattr(
    "protojax.agents.painting.paint",
    lambda drawn: (
      seeds.append(drawn) or np.zeros((drawn.size, 64, 64, 3), np.uint8)
    ),
  )
  state = session.paint({"count": 2})
  first, second = state["pictures"]
  assert (first["number"], second["number"]) == (1, 2)
  assert ["coin", "colour", "", "red"] in first["shows"]
  assert ["cup", "", "", "yes"] in second["shows"]
  named = [entity for entity, name, _, _ in first["shows"] if not name]
  assert seeds[0].there[0].sum() == len(named) - len(scenes.WHOLE)
  assert session.picture(2)[:2] == b"\xff\xd8"
  # Other ones the next time.
  again = session.paint({"count": 2})["pictures"]
  assert [p["time"] for p in again] == [1, 1, 2, 2]


@pytest.mark.parametrize(
  ("post", "content", "message"),
  [
    ("say", {}, "what the page sent has no key 'text'"),
    ("say", {"text": "  "}, "say something, in at most"),
    ("say", {"text": "x" * 3000}, "say something, in at most"),
    ("say", {"text": "hm"}, "does not answer"),
    ("paint", {"count": 0}, "1 to 8 are made"),
    ("paint", {"count": "2"}, "expected a whole number"),
    ("undo", {}, "nothing to undo"),
    ("edit", [], "expected an object"),
    (
      "edit",
      {"edit": "dataclasses", "place": ["", "", ""], "values": []},
      "there is no edit 'dataclasses'; there are: pin, set_probability",
    ),
    (
      "edit",
      {"edit": "pin", "place": ["coin"], "values": ["red"]},
      "a place has an entity",
    ),
    (
      "edit",
      {"edit": "pin", "place": ["yeti", "size", ""], "values": ["small"]},
      "no entity 'yeti'",
    ),
    (
      "edit",
      {"edit": "set_importance", "place": ["coin", "", ""], "values": ["a"]},
      "takes 1 values: a number",
    ),
    (
      "edit",
      {
        "edit": "set_probability",
        "place": ["coin", "size", ""],
        "values": ["small", -0.5],
      },
      "is -0.5, not from 0 to 1",
    ),
  ],
)
def test_what_a_page_may_not_send(made, post, content, message):
  session, file = made
  before = session.state()["belief"]
  with pytest.raises(UserError, match=message):
    session.posts[post](content)
  assert session.state()["belief"] == before
  assert not file.exists()
  with pytest.raises(UserError, match="no picture number 9"):
    session.picture(9)
