"""`agent` with a trained run: what it says, and what it lets judge."""

import io
import json

import numpy as np
import pytest

from protojax import cli
from protojax.agents import choices, dialogue, painted, scenes
from protojax.agents import world as worlds
from protojax.agents.judge import Judge, Trained
from protojax.operations import taught


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
  """Runs the command; its run has a judge that is always as sure."""
  grammar = scenes.Grammar(scenes.draw(500, seed=0))
  monkeypatch.setattr(dialogue, "embedded", lambda: grammar)

  def seen(images):
    p = np.full((len(images), worlds.CELLS), 0.5)
    return p, np.ones((len(images), 1))

  found = Trained(grammar, np.zeros(choices.FEATURES), Judge("runs/x", seen))
  made = {"runs/x": found, "": None}
  monkeypatch.setattr(taught, "trained", made.get)

  def run(what, *flags, lines=()):
    text = "".join(f"{line}\n" for line in lines)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    argv = [what, f"--output={tmp_path / 'said'}", *flags]
    return cli.run("agent", argv, "protojax agent"), *capsys.readouterr()

  return run


def test_pictures_of_a_chat_are_judged(run):
  pytest.importorskip("skimage", reason="needs the demo extra")
  flags = "--prompt=a red coin", "--workdir=runs/x", "--pictures=2"
  code, out, _ = run("chat", *flags, lines=["paint"])
  assert code == 0
  assert "Beliefs are counted, and pictures judged, by runs/x." in out
  assert "P(yes) that each shows what was said: 0.25, 0.25\n" in out


def test_it_is_said_that_nothing_trained_judges(run):
  _, out, _ = run("chat", "--prompt=a coin")
  assert "nothing trained judges them: --workdir=DIR takes a run" in out


def test_a_run_is_of_the_embedded_world(run):
  code, _, err = run("chat", "--workdir=runs/x", "--llm=embedded")
  assert code == 2
  assert err == ("error: --workdir is of the embedded world: leave --llm out\n")


@pytest.mark.slow
def test_self_play_is_judged(run, tmp_path, monkeypatch):
  monkeypatch.setattr(painted, "pictures", worlds.cells)
  file = tmp_path / "curves.json"
  flags = "--policy=none,ag1", "--goals=3", "--turns=1", "--seeds=2"
  code, out, _ = run("selfplay", *flags, "--workdir=runs/x", f"--json={file}")
  assert code == 0
  assert "VQAScore of the goal, geometric mean" in out
  written = json.loads(file.read_text())["policies"]["ag1"]
  assert written["picture_geometric"]["mean"] == pytest.approx([0.5, 0.5])
  assert "weighted" in written
  code, out, _ = run("selfplay", *flags, "--workdir=runs/x", "--wrong=0.5")
  assert code == 0
  assert "users who are neither wrong nor silent" in out
