"""What killed commands left is swept; what is being written is not."""

import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest

from protojax import leftovers
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.types import State
from protojax.writing import replacing, temporary_folder
from tests.conftest import ROOT

_WRITE = """
import pathlib, sys, time
from protojax.writing import replacing, temporary_folder
folder = pathlib.Path(sys.argv[1])
with replacing(folder / "a.csv") as file, temporary_folder(folder / "b") as b:
  (b / "picture").write_text("x")
  file.write("half")
  file.flush()
  print("begun", flush=True)
  time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _another_process(monkeypatch):
  monkeypatch.setattr(leftovers, "_swept", set())


def _left(folder):
  """What a process leaves that is killed."""
  (folder / ".a.csv.1.0.partial").write_text("half")
  (folder / ".report.22.3.partial" / "x").mkdir(parents=True)
  (folder / ".report.22.3.partial" / "x" / "y").write_text("half")


def test_the_first_file_in_a_folder_sweeps_it(tmp_path):
  others = [
    ".bashrc",
    ".a.csv.1",
    "a.1.0.partial",
    ".a.1.partial",
    ".a.x.1.partial",
  ]
  for name in others:
    (tmp_path / name).write_text("of someone else")
  _left(tmp_path)
  with replacing(tmp_path / "b.csv") as file:
    file.write("whole")
  assert sorted(os.listdir(tmp_path)) == sorted([*others, "b.csv"])
  # Once in a process: folders may hold many files.
  _left(tmp_path)
  with replacing(tmp_path / "c.csv"):
    pass
  assert (tmp_path / ".a.csv.1.0.partial").exists()


def test_a_folder_sweeps_too_and_goes(tmp_path):
  _left(tmp_path)
  with temporary_folder(tmp_path / "report") as pages:
    assert [path.name for path in tmp_path.iterdir()] == [pages.name]
    (pages / "x").write_text("")
  assert list(tmp_path.iterdir()) == []
  with temporary_folder(tmp_path / "report") as pages:
    (pages / "x").write_text("")
    os.replace(pages, tmp_path / "report")
  assert os.listdir(tmp_path) == ["report"]


def test_what_is_being_written_is_not_swept(tmp_path):
  with (
    replacing(tmp_path / "a") as file,
    temporary_folder(tmp_path / "b") as folder,
  ):
    leftovers._swept.clear()
    leftovers.sweep(tmp_path)
    file.write("whole")
    assert folder.is_dir()
  assert (tmp_path / "a").read_text() == "whole"


def test_one_place_is_written_to_twice_at_once(tmp_path):
  with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as other:
    first.write("first")
    other.write("other")
  assert (tmp_path / "a").read_text() == "first"
  assert os.listdir(tmp_path) == ["a"]


def test_a_file_swept_before_it_was_locked_is_made_again(tmp_path):
  path, made = tmp_path / ".a.1.partial", []

  def make():
    file = path.open("w")
    if not made:
      path.unlink()
    made.append(file)
    return file

  with leftovers.owned(make, path) as file:
    assert file is made[1]
  assert made[0].closed


def test_an_unfinished_checkpoint_is_swept_by_the_next(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  left = tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp-17" / "arrays"
  left.mkdir(parents=True)
  assert not checkpoints.exists()
  assert left.exists()
  state = State({"x": 1.0}, statistics={}, buffers={})
  checkpoints.save(Progress(), state, {})
  checkpoints.close()
  assert os.listdir(tmp_path / "checkpoints") == ["1"]


@pytest.mark.slow
def test_killed_and_started_again(tmp_path):
  with subprocess.Popen(
    [sys.executable, "-c", _WRITE, str(tmp_path)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stdout.readline() == "begun\n"
    assert len(os.listdir(tmp_path)) == 2
    leftovers.sweep(tmp_path)
    assert len(os.listdir(tmp_path)) == 2
    process.send_signal(signal.SIGKILL)
    process.wait(300)
  leftovers._swept.clear()
  with replacing(Path(tmp_path / "a.csv")) as file:
    file.write("whole")
  assert os.listdir(tmp_path) == ["a.csv"]
