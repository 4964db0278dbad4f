"""INP-Former as a user runs it: train, explain, predict; misused."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pytest

from protojax.__main__ import main
from protojax.datasets import anomalies
from protojax.engine.checkpoint import Checkpoints
from protojax.modify.presets import DEFAULT
from tests.conftest import ROOT
from tests.datasets import anomaly_fakes as fakes

DEBUG = "--config=configs/inp_former_textures.py:debug"
TRAINED = {"prototypes", "bottleneck", "decoder"}
STAGES = ("01-start", "02-train", "03-threshold")
METRICS = {
  *(
    f"{of}_{x}" for of in ("image", "pixel") for x in ("auroc", "ap", "f1_max")
  ),
  "aupro",
}
# A checkpoint after almost every step.
OFTEN = "--config.save_seconds=0.2"
SHOWN, BATCH = 8, 16

pytestmark = pytest.mark.slow


def start(*arguments):
  """Starts a command; what it compiles is shared with the tests' process."""
  environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2"}
  return subprocess.Popen(
    [sys.executable, "-u", *map(str, arguments)],
    cwd=ROOT,
    env=environment,
    text=True,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )


def finish(process):
  """Waits; its exit code, and what it said on either side."""
  out, err = process.communicate()
  return process.returncode, out, err


def train(folder, *flags):
  return start("train.py", DEBUG, f"--workdir={folder}", *flags)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """Workdir of `train.py`; beside it "middle", as it was then.

  The process stands still while it is copied.
  """
  folder = tmp_path_factory.mktemp("runs") / "debug"
  process = train(folder, OFTEN)
  while _last_checkpoint(folder) < 2:
    assert process.poll() is None, finish(process)
    time.sleep(0.02)
  process.send_signal(signal.SIGSTOP)
  shutil.copytree(folder, folder.with_name("middle"))
  process.send_signal(signal.SIGCONT)
  code, out, err = finish(process)
  assert code == 0, err
  (folder / "stdout.txt").write_text(out)
  return folder


def _last_checkpoint(folder):
  names = [path.name for path in (folder / "checkpoints").glob("*")]
  return max((int(name) for name in names if name.isdecimal()), default=0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  """As many test images as fill a batch, and a broken one.

  Those that `--limit` chooses are among them.
  """
  folder = tmp_path_factory.mktemp("photos")
  source = anomalies.open_split(fakes.config(name="textures"), "test")
  chosen = np.linspace(0, len(source) - 1, SHOWN).round().astype(int)
  for i in (*chosen.tolist(), *range(1, BATCH - SHOWN + 1)):
    path = folder / f"{source.name(i).replace('/', '+')}.png"
    Image.fromarray(source[i]["image"]).save(path)
  (folder / "broken.png").write_bytes(b"nonsense")
  return folder


@pytest.fixture(scope="module")
def middle(run):
  """Arrays of the newest checkpoint in "middle"."""
  position, arrays = Checkpoints(run.with_name("middle")).restore()
  assert (position.stage, position.step > 0) == (2, True), "copied late"
  return arrays


@pytest.fixture(scope="module")
def done(run, tmp_path_factory):
  """What follows a training, all at once: name -> (code, out, err)."""
  folder = tmp_path_factory.mktemp("after")
  brick = "--config.data.category=brick"
  processes = {
    "explain": start("explain.py", f"--workdir={run}", f"--limit={SHOWN}"),
    "global": start("explain.py", f"--workdir={run}", "--scope=global"),
    "zero-shot": train(
      folder / "zero-shot",
      brick,
      f"--init-from={run}",
      "--config.epochs=0",
      "--config.map.kind=distance",
    ),
    "few-shot": train(
      folder / "few-shot", brick, "--config.data.shots=2", "--config.epochs=0"
    ),
  }
  found = {name: finish(process) for name, process in processes.items()}
  return {"folder": folder, **found}


def summary(folder):
  return json.loads((folder / "summary.json").read_text())


def events(folder):
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def rows(text):
  return list(csv.DictReader(text.splitlines()))


def test_a_run_leaves_what_the_contract_says(run):
  for name in ("config.json", "metrics.jsonl", "checkpoints", "tensorboard"):
    assert (run / name).exists(), name
  # There are no classes.
  assert not (run / "classes.json").exists()
  found = summary(run)
  assert tuple(s["id"] for s in found["stages"]) == STAGES
  for values in (found, found["metrics"], *found["categories"].values()):
    assert set(values) >= METRICS
    assert all(0 <= values[name] <= 1 for name in METRICS)
  assert set(found["categories"]) == {"brick", "grass", "gravel"}
  for name in METRICS:
    of_each = [values[name] for values in found["categories"].values()]
    np.testing.assert_allclose(found[name], np.mean(of_each), rtol=1e-6)
    assert found["stages"][-1]["metrics"][name] == found[name]
  threshold = found["threshold"]
  assert threshold["images"] == 45
  assert 0 < threshold["rate"] <= 0.05
  assert threshold["value"] == found["metrics"]["threshold"]
  assert set(found["stages"][1]["metrics"]) >= {"loss", "mining", "coherence"}


def test_what_a_run_prints(run):
  text = (run / "stdout.txt").read_text()
  for name in sorted(METRICS):
    value = summary(run)["metrics"][name]
    assert re.search(rf"^{name} +{value:.4g} *$", text, re.MULTILINE), name
  assert f"python explain.py --workdir={run}" in text
  assert "note:" not in text


def test_every_event_stands_once(run):
  found = events(run)
  keys = [(e["stage"], e["step"], e["split"]) for e in found]
  assert len(set(keys)) == len(keys)
  assert {e["stage"] for e in found} == set(STAGES)


def test_explanations_are_written(run, done):
  code, out, err = done["explain"]
  assert code == 0, err
  folder = run / "explanations"
  assert {p.name for p in folder.iterdir()} == {
    "inspections.csv",
    "report.html",
    "report.txt",
    "summary.json",
  }
  for path in folder.iterdir():
    assert str(path) in out
  found = rows((folder / "inspections.csv").read_text())
  assert len(found) == SHOWN
  assert tuple(found[0]) == (
    "image",
    "split",
    "category",
    "kind",
    "score",
    "threshold",
    "defective",
    "worst_box",
    "original_box",
    "seen_box",
    "hidden",
    "worst_value",
    *DEFAULT.names,
  )
  threshold = summary(run)["threshold"]["value"]
  for row in found:
    assert row["split"] == "test"
    assert row["image"].startswith(f"{row['category']}/test/{row['kind']}-")
    assert float(row["identity"]) == 0
    assert any(float(row[name]) != 0 for name in DEFAULT.names)
    np.testing.assert_allclose(float(row["threshold"]), threshold, rtol=1e-5)
    defective = float(row["score"]) > float(row["threshold"])
    assert int(row["defective"]) == defective
  told = summary(folder)
  assert told["images"] == SHOWN
  assert told["images_by_split"] == {"test": SHOWN}
  assert told["found"] == sum(int(row["defective"]) for row in found)
  page = (folder / "report.html").read_text()
  text = (folder / "report.txt").read_text()
  # Its scripts stand in it.
  assert not re.search(r"https?:|<script[^>]", page)
  for row in found:
    assert row["image"] in page
    assert row["image"] in text


def test_there_is_nothing_global_to_explain(done):
  code, _, err = done["global"]
  assert code == 2
  (line,) = err.strip().splitlines()
  assert line.startswith("error: ")
  assert "--scope=local" in line


def test_predictions_are_those_of_the_explanations(run, done, photos, capsys):
  del done  # It has explained the run.
  assert main(["predict", "--workdir", str(run), str(photos)]) == 0
  out, err = capsys.readouterr()
  assert f"skipped {photos / 'broken.png'}" in err
  assert "note:" not in err
  assert out.splitlines()[0] == "image,score,threshold,defective"
  explained = rows((run / "explanations" / "inspections.csv").read_text())
  found = {row["image"]: row for row in rows(out)}
  assert len(found) == BATCH
  for row in explained:
    other = found[str(photos / f"{row['image'].replace('/', '+')}.png")]
    assert row["defective"] == other["defective"]
    for key in ("score", "threshold"):
      np.testing.assert_allclose(float(row[key]), float(other[key]), rtol=1e-4)


def test_zero_shot_takes_all_from_another_run(run, done):
  code, out, err = done["zero-shot"]
  assert code == 0, err
  assert f"taken over from {run}; anew: none" in out
  folder = done["folder"] / "zero-shot"
  found = summary(folder)
  assert [s["id"] for s in found["stages"]] == ["01-start", "02-threshold"]
  assert set(found) >= METRICS
  # By the distance to the prototypes, which is another map.
  assert (
    found["image_auroc"] != summary(run)["categories"]["brick"]["image_auroc"]
  )
  _, arrays = Checkpoints(folder).restore()
  _, before = Checkpoints(run).restore()
  for name, array in before.items():
    if name.startswith(("state.params.", "state.statistics.")):
      np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def test_few_shots_are_noted(done):
  code, out, err = done["few-shot"]
  assert code == 0, err
  said = " ".join(out.split())
  assert "the threshold is chosen on the training images" in said
  found = summary(done["folder"] / "few-shot")
  assert found["threshold"]["images"] == 2
  assert set(found["categories"]) == {"brick"}


def test_training_moves_all_but_the_encoder(run, middle):
  """From a step in the middle on, whose checkpoint has the optimiser, too."""
  before = middle
  _, after = Checkpoints(run).restore()
  moved = {
    ".".join(name.split(".")[1:3])
    for name, array in after.items()
    if np.any(array != before[name])
  }
  assert moved == {
    *(f"params.{name}" for name in TRAINED),
    "buffers.threshold",
    "buffers.false_positive_rate",
    "buffers.normal_images",
  }
  moments = {n.split(".mean.")[1] for n in before if ".mean." in n}
  assert {name.split(".")[0] for name in moments} == TRAINED


def test_bad_data_are_one_line_and_exit_code_2(tmp_path):
  mask = "cup/ground_truth/crack/001_mask.png"
  for name, content in fakes.mvtec("cup").items():
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name != mask:
      pixels = np.full((12, 10), content) if np.isscalar(content) else content
      Image.fromarray(np.uint8(pixels)).save(path)
  root = f"--config.data.root={tmp_path / 'data'}"
  process = train(tmp_path / "run", "--config.data.name=folder", root)
  code, _, err = finish(process)
  assert code == 2, err
  (line,) = err.strip().splitlines()
  assert line.startswith("error: the defective image cup/test/crack/001.png")
  assert f"has no mask: expected {mask}" in line
