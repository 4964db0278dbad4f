"""Self-play about captions, and the files that these come from."""

import json

import numpy as np
import pytest

from protojax.agents import captions, embedded, goals, scenes
from protojax.agents.captions import Judges
from protojax.agents.goals import Goal
from protojax.agents.parsing import Parser
from protojax.types import UserError

GOAL = "a small red coin, a blue cup, the coin is left of the cup, sketch style"


@pytest.fixture(scope="module")
def grammar():
  return scenes.Grammar(scenes.draw(1000, seed=0))


class Judge:
  """Says how probable a text is by its letters."""

  name = "letters"

  def p_yes(self, images, texts):
    assert images.shape == (len(texts), 512, 512, 3)
    return np.array([0.9 if "cup" in text else 0.4 for text in texts])


class Letters:
  name = "letters"

  def text(self, texts):
    found = np.array([[t.count(x) for x in "aeiou"] for t in texts], float)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


NONE = Judges()


def play(grammar, tmp_path, policy, turns, judges=NONE, user="literal"):
  goal = Goal("one", "", GOAL)
  parser = Parser(embedded.LLM(grammar))
  file = tmp_path / f"{policy}.jsonl"
  return captions.play(goal, parser, policy, turns, 0, judges, file, user)


def steps_of(file):
  return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_an_agent_gets_to_know_a_caption(grammar, tmp_path):
  """More is known of the goal after each answer; without questions nothing."""
  found = play(grammar, tmp_path, "ag1", 3)
  assert set(found) == {"weighted", "unweighted", "unmatched", "told", "known"}
  assert found["unweighted"].shape == (4,)
  assert (np.diff(found["unweighted"]) <= 1e-9).all()
  assert found["unweighted"][3] < found["unweighted"][0]
  assert found["told"][3] > found["told"][0] > 0
  assert (found["known"] <= 1).all()
  steps = steps_of(tmp_path / "ag1.jsonl")
  assert [step["do"] for step in steps] == ["begin", *["answer"] * 3]
  assert steps[0]["begun"]["prompt"] == "a coin, a cup"
  none = play(grammar, tmp_path, "none", 3)
  assert (none["told"] == found["told"][0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("user", captions.USERS)
def test_what_the_goal_does_not_say(grammar, tmp_path, user):
  """A user answers it by what is likely, by what was drawn, or not."""
  play(grammar, tmp_path, "ag1", 3, user=user)
  said = [step["text"] for step in steps_of(tmp_path / "ag1.jsonl")[1:]]
  assert len(said) == 3
  assert ("I don't know" in said) == (user == "literal")


def test_a_goal_without_things_is_named(grammar, tmp_path):
  parser = Parser(embedded.LLM(grammar))
  file = tmp_path / "trace.jsonl"
  with pytest.raises(UserError, match="goal '7': 'peace' names nothing to be"):
    captions.play(Goal("7", "", "peace"), parser, "ag1", 1, 0, NONE, file)
  assert not file.exists()


@pytest.mark.slow
def test_figures_of_pictures(grammar, tmp_path):
  """By hand: of six facts that a judge sees, three name the cup."""
  judges = Judges(embedded.Images(grammar), Judge(), Letters(), pictures=2)
  found = play(grammar, tmp_path, "none", 0, judges)
  steps = steps_of(tmp_path / "none.jsonl")
  goal = Parser(embedded.LLM(grammar)).graph(GOAL)
  texts = list(captions._facts(captions.likelihood.likeliest(goal)).values())
  assert "a coin" not in texts
  assert {"coin", "cup", "style: sketch"} <= set(texts)
  p = np.array([0.9 if "cup" in text else 0.4 for text in texts])
  assert found["vqa_product"] == pytest.approx([p.prod()])
  assert found["vqa_geometric"] == pytest.approx([p.prod() ** (1 / len(p))])
  assert found["recall"] == pytest.approx([(p > 0.5).mean()])
  assert 0 < found["cosine"][0] <= 1
  assert len(steps[1]["pictures"]) == 2
  assert steps[1]["scores"]["recall"] == found["recall"][0]


def test_means_and_their_errors():
  played = [{"told": np.array([0.0, x])} for x in (1.0, 2.0, 6.0)]
  found = captions.summary(played)["told"]
  assert found["mean"] == [0, 3]
  error = np.std([1, 2, 6], ddof=1) / np.sqrt(3)
  assert found["standard_error"] == pytest.approx([0, error])
  assert captions.summary(played[:1])["told"]["standard_error"] == [0, 0]


DESIGN = {"short_description": " a  cup ", "long_description": "a red cup"}
COCO = {
  "images": [{"id": 7, "file_name": "x.jpg"}],
  "annotations": [
    {"image_id": 7, "id": 1, "caption": "A red cup on a table."},
    {"image_id": 7, "id": 2, "caption": "A cup "},
    {"image_id": 9, "id": 3, "caption": "A cat!"},
  ],
}
IIW = [{"image/key": "k1", "IIW": "A long text."}, {"IIW": "Another."}]


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    (json.dumps([DESIGN]), [Goal("0", "a cup", "a red cup")]),
    (json.dumps({"d": DESIGN}, indent=1), [Goal("d", "a cup", "a red cup")]),
    (json.dumps([{**DESIGN, "index": 3}]), [Goal("3", "a cup", "a red cup")]),
    (
      json.dumps(COCO),
      [
        Goal("7", "A cup", "A red cup on a table. A cup."),
        Goal("9", "A cat!", "A cat!"),
      ],
    ),
    (
      "\n".join(map(json.dumps, IIW)),
      [Goal("k1", "", "A long text."), Goal("2", "", "Another.")],
    ),
  ],
)
def test_captions_are_read(tmp_path, text, expected):
  file = tmp_path / "captions.json"
  file.write_text(text)
  assert goals.read(file) == expected
  assert goals.read(file, 1) == expected[:1]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("[]", "has no caption: expected DesignBench, captions of COCO"),
    ("3", "has no caption"),
    ("{", "is not valid JSON"),
    ('[{"short_description": "a"}]', "no key 'long_description', entry '0'"),
    ('{"annotations": [{"image_id": 1}]}', r"no key 'caption' at annotations"),
    ('{"IIW": "a"}\n{"IIW": 3}\n', "line 2 holds 3 at IIW"),
  ],
)
def test_files_without_captions(tmp_path, text, message):
  file = tmp_path / "captions.json"
  file.write_text(text)
  with pytest.raises(UserError, match=message):
    goals.read(file)
