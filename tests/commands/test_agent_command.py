"""`agent chat`: a dialogue in the terminal that is saved at every turn."""

import io
import json

import numpy as np
from PIL import Image
import pytest

from protojax import cli
from protojax.agents import dialogue, scenes


@pytest.fixture
def chat(tmp_path, monkeypatch, capsys):
  """Types lines into the command; returns its exit code and what it says."""
  grammar = scenes.Grammar(scenes.draw(2000, seed=0))
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


def test_what_cannot_be_asked_is_refused(capsys):
  argv = ["chat", "--policy=ag1,eig"]
  assert cli.run("agent", argv, "protojax agent") == 2
  assert "chat takes one policy" in capsys.readouterr().err
  for flag, says in (
    ("--policy=ag3", "there is no policy 'ag3'"),
    ("--wrong=2", "'2' is no number from 0 to 1"),
  ):
    with pytest.raises(SystemExit, match="2"):
      cli.run("agent", ["selfplay", flag], "protojax agent")
    assert says in capsys.readouterr().err
