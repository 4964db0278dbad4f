"""Methods and data of someone else, from a folder on the import path.

The first has two streams, two views, a ramp, a teacher, a queue, an asset, a
term of the whole batch, dense answers and a page of its own; the second no
images and no gradient descent; the third no classes. What holds for every
method is in `test_every_method`. None of them needs a change of protojax.
"""

import json
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from protojax import cli, loading, parallel
from protojax.engine.checkpoint import Checkpoints, flatten
from protojax.explain import blocks, documents
from tests.common.processes import finish, start
from tests.report.page_reader import Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(toyshop, tmp_path_factory):
  """The workdir of the first toy, trained by the command."""
  folder = tmp_path_factory.mktemp("swirl")
  config = toyshop / "swirl" / "config.py"
  arguments = [f"--config={config}", f"--workdir={folder}"]
  assert cli.run("train", arguments, "train.py") == 0
  return folder


@pytest.fixture(scope="module")
def explained(trained):
  """The folder of its explanations."""
  arguments = [f"--workdir={trained}", "--format=html,csv,json,png"]
  assert cli.run("explain", arguments, "explain.py") == 0
  return trained / "explanations"


def test_it_trains_on_both_streams_and_all_its_terms(trained):
  lines = (trained / "metrics.jsonl").read_text().splitlines()
  events = [json.loads(line) for line in lines]
  found = next(
    e for e in events if e["stage"] == "02-teach" and e["split"] == "train"
  )
  terms = {"pixels", "agreement", "contrast", "queue", "loss"}
  assert set(found) > terms | {"boxes", "unlabelled"}
  # A box for each image, as far as it stays in sight; no label of the others.
  assert found["unlabelled"] == 1
  assert 0.9 < found["boxes"] <= 1
  summary = json.loads((trained / "summary.json").read_text())
  assert summary["metrics"]["cells"] > 0.8
  assert summary["stages_done"] == 2


def test_the_lens_is_an_asset_and_the_memory_is_kept(trained):
  method, state, _ = loading.load(trained)
  progress, arrays = Checkpoints(trained).restore()
  assert set(progress.assets) == {"lens"}
  assert not [name for name in arrays if "lens" in name]
  (kept,) = (trained / "assets").iterdir()
  assert kept.stem == progress.assets["lens"]
  assert state.assets["lens"]["kernel"].shape == (3, 8)
  # 4 epochs of one step of eight rows; the queue holds 32.
  queue = state.memory["queue"]
  assert queue["filled"].all()
  # The teacher lags behind.
  pupil, teacher = flatten(state.params), flatten(state.memory["teacher"])
  fresh = flatten(jax.jit(method.init)(parallel.init_key(0)).params)
  for name, begun in fresh.items():
    way = np.linalg.norm(pupil[name] - begun)
    assert 0 < np.linalg.norm(teacher[name] - begun) < way


def test_its_evidence_reads_back_by_the_schema(explained):
  jsonschema = pytest.importorskip("jsonschema")
  path = explained / "explanations.jsonl"
  lines = path.read_text().splitlines()
  for line in lines:
    jsonschema.validate(json.loads(line), documents.schema())
  found = list(documents.read(path))
  assert len(found) == len(lines) == 8
  for one in found:
    near, table = one.blocks
    assert isinstance(near, blocks.Map)
    assert near.values.shape == (8, 8)
    assert sum(count for _, count in table.rows) == 64


def test_its_report_shows_blocks_and_its_own_pages(explained):
  report = Page((explained / "report.html").read_text("utf-8"))
  assert "disc 0" in report.text
  others, own = sorted((explained / "pages").glob("*.html"))
  assert "Cells of all images" in Page(others.read_text("utf-8")).text
  page = Page(own.read_text("utf-8"))
  assert "Prototypes among themselves" in page.text
  assert "background 0" in page.text
  assert "Prototypes among themselves" in report.text


def test_predict_names_a_class_for_each_image(trained, tmp_path, capsys):
  from PIL import Image

  Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
  arguments = [f"--workdir={trained}", str(tmp_path / "red.png")]
  assert cli.run("predict", arguments, "protojax") == 0
  assert capsys.readouterr().out.splitlines()[1].split(",")[1] in (
    "disc",
    "square",
  )


@pytest.mark.parametrize("name", ["means", "palette"])
def test_others_say_that_they_explain_nothing(toyshop, tmp_path, capsys, name):
  config = toyshop / name / "config.py"
  arguments = [f"--config={config}", f"--workdir={tmp_path}"]
  assert cli.run("train", arguments, "train.py") == 0
  summary = json.loads((tmp_path / "summary.json").read_text())
  if name == "means":
    assert summary["metrics"]["accuracy"] > 0.8
  else:
    assert summary["metrics"]["error"] < 0.02
  capsys.readouterr()
  assert cli.run("explain", [f"--workdir={tmp_path}"], "explain.py") == 2
  said = capsys.readouterr().err
  assert f"toyshop.{name}.method, does not explain its answers" in said
  assert "protopnet" in said


def test_two_processes_make_its_pages_together(trained, explained, tmp_path):
  folder = shutil.copytree(trained, tmp_path / trained.name)
  shutil.rmtree(folder / "explanations")
  finish(start(["explain.py", f"--workdir={folder}"], processes=2))
  for page in (explained / "pages").glob("*.html"):
    found = folder / "explanations" / "pages" / page.name
    assert found.read_text("utf-8") == page.read_text("utf-8")


def test_killed_in_two_processes_it_ends_as_one_of_two_devices(
  toyshop, tmp_path
):
  config = toyshop / "swirl" / "config.py"
  whole, killed = tmp_path / "whole", tmp_path / "killed"

  def training(folder):
    return [f"--config={config}", f"--workdir={folder}", "--config.epochs=40"]

  assert cli.run("train", training(whole), "train.py") == 0
  command = ["train.py", *training(killed), "--config.save_seconds=0.01"]
  processes = start(command, processes=2)
  # The fifth checkpoint is of a step of gradient descent.
  while not (killed / "checkpoints" / "5").exists():
    assert processes[0].poll() is None
    time.sleep(0.02)
  for process in processes:
    process.send_signal(signal.SIGKILL)
  for process in processes:
    process.communicate()
  progress, _ = Checkpoints(killed).restore()
  assert progress.stage == 2
  assert 0 < progress.step < 40
  said = finish(start(command, processes=2))
  assert "2 x cpu" in said[0]
  _, found = Checkpoints(killed).restore()
  _, expected = Checkpoints(whole).restore()
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array, err_msg=name)
