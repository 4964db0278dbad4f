"""`agent chat`: a dialogue in the terminal that is saved at every turn."""

import io
import json

import numpy as np
from PIL import Image
import pytest

from protojax import cli
from protojax.agents import dialogue, scenes
from tests.agents.provider_stub import KEY, says, serving


@pytest.fixture
def chat(tmp_path, monkeypatch, capsys):
  """Types lines into the command; returns its exit code and what it says."""
  grammar = scenes.Grammar(scenes.draw(800, seed=0))
  monkeypatch.setattr(dialogue, "embedded", lambda: grammar)

  def chat(*lines, flags=()):
    text = "".join(f"{line}\n" for line in lines)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    argv = ["chat", f"--output={tmp_path / 'said'}", *flags]
    code = cli.run("agent", argv, "protojax agent")
    return code, *capsys.readouterr()

  return chat


def test_a_dialogue_is_held_painted_and_gone_on_with(chat, tmp_path):
  code, out, err = chat(
    "a red coin and a dragon", "I don't know", "belief", "paint", "no cat"
  )
  assert (code, err) == (0, "")
  assert "What shall the picture show?\nNot understood: dragon." in out
  assert "So far: a red coin.\n" in out
  assert "  coin colour: red 100%\n" in out
  assert out.endswith("dialogue.json: the same command goes on.\n")
  pictures = sorted((tmp_path / "said").glob("*.png"))
  assert [p.name for p in pictures] == [f"01-{n:02d}.png" for n in range(4)]
  assert np.asarray(Image.open(pictures[0])).shape == (256, 256, 3)
  code, out, _ = chat("hm", "undo", "quit", "never read")
  assert code == 0
  assert "going on with" in out
  assert "So far: a red coin, no cat." in out
  assert "'hm' does not answer" in out
  assert "nothing was said or edited" in out
  saved = json.loads((tmp_path / "said" / "dialogue.json").read_text())
  assert [turn[1] for turn in saved["turns"]] == ["I don't know", "no cat"]


def test_nothing_is_left_to_ask(chat):
  _, out, _ = chat("red", flags=["--prompt=a coin", "--policy=none"])
  assert "Nothing is left to ask." in out
  assert "'red' says nothing that this world has" in out


def test_a_dialogue_is_not_overwritten(chat, tmp_path):
  chat(flags=["--prompt=a coin"])
  before = (tmp_path / "said" / "dialogue.json").read_bytes()
  code, _, err = chat(flags=["--prompt=a cup"])
  assert code == 2
  assert "holds a dialogue already: leave --prompt out" in err
  assert (tmp_path / "said" / "dialogue.json").read_bytes() == before


def test_another_file_in_its_place_is_told(chat, tmp_path):
  (tmp_path / "said").mkdir()
  (tmp_path / "said" / "dialogue.json").write_text("[]")
  code, _, err = chat()
  assert code == 2
  assert err.startswith("error: ")
  assert err.count("\n") == 1


@pytest.mark.slow
def test_a_dialogue_is_replayed_to_the_same_pictures(chat, tmp_path, capsys):
  """Bit for bit; and what was changed in the trace is found."""
  chat("a red coin", "I don't know", "paint", "undo", "no cat", "paint")
  trace = tmp_path / "said" / "trace.jsonl"
  steps = [json.loads(x)["do"] for x in trace.read_text().splitlines()]
  assert steps == ["begin", "answer", "paint", "undo", "answer", "paint"]
  argv = ["replay", f"--trace={trace}", f"--output={tmp_path}"]
  assert cli.run("agent", argv, "protojax agent") == 0
  assert "6 steps, 8 pictures: all as before\n" in capsys.readouterr().out
  for number in range(4):
    first = tmp_path / "said" / f"01-{number:02d}.png"
    again = tmp_path / "replayed" / f"06-{number:02d}.png"
    assert first.read_bytes() == again.read_bytes()
  lines = trace.read_text().splitlines()
  step = json.loads(lines[-1])
  step["pictures"][0] = step["pictures"][1]
  trace.write_text("\n".join([*lines[:-1], json.dumps(step)]) + "\n")
  assert cli.run("agent", argv, "protojax agent") == 1
  assert "line 6, paint: came out otherwise" in capsys.readouterr().err
  for change, message in (
    (
      {"do": "begin", "begun": {**json.loads(lines[0])["begun"], "version": 2}},
      "a trace of version 2; this release reads version 1",
    ),
    ({"do": "undo", "begun": None}, "it is no trace"),
  ):
    trace.write_text(json.dumps({**json.loads(lines[0]), **change}) + "\n")
    assert cli.run("agent", argv, "protojax agent") == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_dialogue_by_a_model_is_recorded_and_replayed(chat, tmp_path, capsys):
  """The second time no model answers."""
  begin = "a coin and a cup"
  model = ["--llm=embedded", "--policy=belief-prompted", "--pictures=1"]
  code, out, err = chat(begin, "red", "paint", "hm", flags=model)
  assert (code, err) == (0, "")
  assert "What you say is sent to embedded" in out
  assert "red" in out.split("So far: ")[-1]
  assert "'hm' does not answer" in out
  assert "0 requests" in out
  said = tmp_path / "said"
  argv = ["replay", f"--trace={said / 'trace.jsonl'}", f"--output={tmp_path}"]
  assert cli.run("agent", argv, "protojax agent") == 0
  assert "3 steps, 1 pictures: all as before\n" in capsys.readouterr().out
  (said / "dialogue.json").unlink()
  (said / "answers.jsonl").rename(tmp_path / "kept.jsonl")
  kept = ["--llm=recorded", f"--recording={tmp_path / 'kept.jsonl'}", model[1]]
  _, again, _ = chat(begin, "red", flags=kept)
  assert again.split("\n")[1:4] == out.split("\n")[1:4]
  code, _, err = chat(flags=[])
  assert code == 2
  assert "is a dialogue with embedded: name it by --llm" in err
  code, _, err = chat("a temple", flags=[*kept, f"--output={tmp_path / 'new'}"])
  assert code == 2
  assert "has no answer of embedded" in err


@pytest.mark.slow
def test_models_that_do_not_answer(chat, tmp_path, monkeypatch):
  """One line; the dialogue so far is there."""
  monkeypatch.setenv("OPENAI_API_KEY", KEY)
  with serving(says("Gladly!")) as (base, _):
    flags = ["--llm=openai_http", f"--base-url={base}", "--model=m"]
    code, out, err = chat("a coin", flags=flags)
    assert code == 2
    assert err.startswith(
      "error: openai_http m was asked twice, and its answer"
    )
    assert err.count("\n") == 1
  chat("a coin", flags=["--llm=embedded", "--policy=principle-prompted"])
  before = (tmp_path / "said" / "dialogue.json").read_bytes()
  code, out, err = chat("red", "", "quit", flags=[*flags, "--timeout=0.5"])
  assert (code, err) == (0, "")
  assert out.count("does not answer: connection refused") == 4
  found = json.loads((tmp_path / "said" / "dialogue.json").read_text())
  assert found["belief"] == json.loads(before)["belief"]
  for file in (tmp_path / "said").iterdir():
    assert KEY not in file.read_text()
  assert KEY not in out
  for flags, message in (
    (["--llm=gemini"], "--llm=gemini needs --model=NAME"),
    (["--llm=recorded"], "needs --recording=FILE"),
    (["--llm=gemini", "--policy=eig"], "chat takes no policy eig there"),
  ):
    code, _, err = chat(flags=flags)
    assert code == 2
    assert message in err


@pytest.mark.slow
def test_agents_play_with_simulated_users(chat, tmp_path, capsys):
  file = tmp_path / "curves.json"
  flags = ["--policy=ag1,none", "--goals=4", "--seeds=2", "--turns=2"]
  argv = ["selfplay", *flags, f"--json={file}"]
  assert cli.run("agent", argv, "protojax agent") == 0
  out, err = capsys.readouterr()
  assert err == ""
  assert "8 goals, simulated users" in out
  assert f"written: {file}" in out
  assert "\\" not in out.replace(str(file), "")
  found = json.loads(file.read_text())["policies"]
  mean = {name: found[name]["weighted"]["mean"] for name in ("ag1", "none")}
  assert mean["ag1"][0] == pytest.approx(mean["none"][0], abs=1e-5)
  assert mean["ag1"][2] < mean["none"][2]
  row = next(x for x in out.splitlines() if x.startswith("ag1"))
  assert row.split()[1] == f"{mean['ag1'][0]:.3f}"


@pytest.mark.slow
def test_a_page_goes_on_with_a_dialogue_of_the_terminal(
  chat, tmp_path, monkeypatch, capsys
):
  shown = []
  monkeypatch.setattr(
    "protojax.operations.asking.served",
    lambda session, args, folder, facts: shown.append(session) or 0,
  )
  argv = ["page", f"--output={tmp_path / 'said'}"]
  assert cli.run("agent", argv, "protojax agent") == 0
  assert "the same command goes on" in capsys.readouterr().err
  shown[0].say({"text": "I don't know"})
  _, out, _ = chat("no cat")
  assert "going on with" in out
  assert cli.run("agent", argv, "protojax agent") == 0
  state = shown[1].state()
  assert state["prompt"] == "a coin, a cup, no cat"
  assert [said for _, said in state["turns"]] == ["I don't know", "no cat"]
  trace = tmp_path / "said" / "trace.jsonl"
  steps = [json.loads(line)["do"] for line in trace.read_text().splitlines()]
  assert steps == ["begin", "answer", "answer"]
  capsys.readouterr()
  for flag, message in (
    ("--prompt=a cat", "holds a dialogue already"),
    ("--llm=human", "types in the terminal: take chat"),
    ("--llm=embedded", "is a dialogue without --llm"),
  ):
    assert cli.run("agent", [*argv, flag], "protojax agent") == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_what_cannot_be_asked_is_refused(capsys):
  argv = ["chat", "--policy=ag1,eig"]
  assert cli.run("agent", argv, "protojax agent") == 2
  assert "chat takes one policy" in capsys.readouterr().err
  for flag, message in (
    ("--policy=ag3", "there is no policy 'ag3'"),
    ("--wrong=2", "'2' is no number from 0 to 1"),
  ):
    with pytest.raises(SystemExit, match="2"):
      cli.run("agent", ["selfplay", flag], "protojax agent")
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_models_play_about_captions(chat, tmp_path, capsys):
  """Without a model's answers the second time, and with the same figures."""
  goals = tmp_path / "goals.json"
  goal = {
    "short_description": "a coin",
    "long_description": "a red coin, a small cup, white background",
  }
  goals.write_text(json.dumps([goal, {**goal, "long_description": "a coin"}]))
  out = tmp_path / "played"
  flags = [f"--goals-file={goals}", f"--output={out}", "--turns=2"]
  flags += ["--policy=ag1,principle-prompted", "--at-once=1"]
  found = []
  for name in "embedded", "recorded":
    file = tmp_path / f"{name}.json"
    argv = ["selfplay", f"--llm={name}", *flags, f"--json={file}"]
    argv += [f"--recording={out / 'answers.jsonl'}"]
    assert cli.run("agent", argv, "protojax agent") == 0
    found.append(json.loads(file.read_text()))
  assert found[0]["policies"] == found[1]["policies"]
  mean = found[0]["policies"]["ag1"]["unweighted"]["mean"]
  assert mean[0] > mean[1] > 0
  assert (
    "answers for users: none of them is a person" in capsys.readouterr().out
  )
  assert {p.name for p in out.glob("*-*.jsonl")} == {
    f"{policy}-{n:04d}.jsonl"
    for policy in ("ag1", "principle-prompted")
    for n in range(2)
  }
  assert cli.run("agent", ["selfplay", "--llm=human"], "protojax agent") == 2
  assert "needs both --llm and --goals-file" in capsys.readouterr().err
