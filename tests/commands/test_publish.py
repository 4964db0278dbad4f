"""A run goes to a hub and comes back; the hub is a folder on this machine."""

import json
from pathlib import Path
import shutil
import sys
import types

import jax
import numpy as np
import pytest
import yaml

import protojax as pj
from protojax import __main__ as command_line
from protojax import hub
from tests.commands.exported_runs import random_run

pytest.importorskip("safetensors")


class FakeHub(types.ModuleType):
  """The three functions that are used."""

  def __init__(self, place):
    super().__init__("huggingface_hub")
    self.place, self.made = place, []

  def create_repo(self, name, private, exist_ok):
    self.made.append((name, private, exist_ok))

  def upload_folder(self, repo_id, folder_path):
    shutil.copytree(folder_path, self.place / repo_id / "commit1")

  def snapshot_download(self, name, allow_patterns):
    assert hub.ARRAYS in allow_patterns
    if not (self.place / name).is_dir():
      raise FileNotFoundError(f"no {name}")
    return str(self.place / name / "commit1")


@pytest.fixture
def fake(tmp_path, monkeypatch):
  module = FakeHub(tmp_path / "hub")
  monkeypatch.setitem(sys.modules, "huggingface_hub", module)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  return module


@pytest.mark.slow
def test_what_is_published_comes_back(fake, tmp_path, capsys):
  run = random_run(tmp_path)
  (run / "summary.json").write_text('{"metrics": {"accuracy": 0.875}}')
  flags = ["hf:me/birds", f"--workdir={run}", "--license=cc-by-4.0"]
  assert command_line.main(["publish", *flags, "--private"]) == 0
  assert fake.made == [("me/birds", True, True)]
  folder = fake.place / "me" / "birds" / "commit1"

  text = (folder / "README.md").read_text("utf-8")
  head = yaml.safe_load(text.split("---")[1])
  assert head["license"] == "cc-by-4.0"
  assert head["pipeline_tag"] == "image-classification"
  assert "| accuracy | 0.875 |" in text
  assert "dog&#x27;s &lt;b&gt;".replace("#", r"\#") in text
  assert 'pj.load("hf:me/birds")' in text
  # Nothing tells where the data lay.
  config = json.loads((folder / "config.json").read_text("utf-8"))
  assert config["data"]["root"] == "unknown"
  assert "/gone" not in text

  found, expected = pj.load("hf:me/birds"), pj.load(run)
  assert found.class_names == expected.class_names
  jax.tree.map(np.testing.assert_array_equal, found.state, expected.state)
  assert Path(found.folder).is_relative_to(tmp_path / "cache")
  # The second time nothing is written.
  before = (found.folder / "config.json").stat().st_mtime_ns
  assert pj.load("hf:me/birds").folder == found.folder
  assert (found.folder / "config.json").stat().st_mtime_ns == before

  # Another network's arrays are refused.
  config["prototypes"]["per_class"] += 1
  (folder / "config.json").write_text(json.dumps(config))
  shutil.rmtree(tmp_path / "cache")
  with pytest.raises(pj.UserError, match="prototypes"):
    pj.load("hf:me/birds")
  capsys.readouterr()
  assert command_line.main(["publish", "hf:me", *flags[1:]]) == 2
  assert "should be hf:owner/name" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("address", "message"),
  [("hf:me/cats", "cannot fetch me/cats"), ("hf:me", "should be hf:owner")],
)
def test_what_is_not_there_is_said(fake, address, message):
  with pytest.raises(pj.UserError, match=message):
    pj.load(address)


def test_the_client_that_is_missing_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  with pytest.raises(pj.UserError, match=r"protojax\[hf\]"):
    pj.load("hf:me/birds")


def test_a_licence_is_a_name_of_one(tmp_path, capsys):
  argv = ["publish", "hf:me/birds", "--license=My Own", f"--workdir={tmp_path}"]
  assert command_line.main(argv) == 2
  assert "is no name of a licence" in capsys.readouterr().err
