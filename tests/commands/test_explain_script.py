"""explain.py as a user runs it: on a run of train.py, in another process."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas
from PIL import Image
import pytest

from protojax import __main__ as command_line
from protojax.engine.checkpoint import Checkpoints
from protojax.explain import standings
from protojax.prototypes import similarity
from protojax.types import State
from tests.conftest import ROOT


def _command(script, *arguments, devices=1):
  environment = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": str(devices),
  }
  return subprocess.run(
    [sys.executable, script, *map(str, arguments)],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.fixture
def run(debug_run, tmp_path):
  """A copy, to be explained and spoilt."""
  copy = tmp_path / "run"
  left_out = shutil.ignore_patterns("explanations")
  shutil.copytree(debug_run, copy, ignore=left_out)
  return copy


def _explain(run, *flags, **options):
  done = _command("explain.py", f"--workdir={run}", *flags, **options)
  assert done.returncode == 0, done.stderr
  return done.stdout, run / "explanations"


def _global(folder, split):
  table = pandas.read_csv(folder / f"global_{split}.csv")
  return table.set_index(["prototype", "modification"]).weighted_delta


@pytest.mark.slow
def test_everything_is_written(run):
  said, folder = _explain(run, "--limit=24", "--format=html,csv,json,npz,png")
  assert {p.name for p in folder.iterdir()} == {
    "global_train.csv",
    "global_test.csv",
    "local.csv",
    "local.npz",
    "explanations.jsonl",
    "png",
    "prototypes.csv",
    "report.html",
    "report.txt",
    "statistics.csv",
    "summary.json",
  }
  for path in folder.iterdir():
    assert str(path) in said

  prototypes = pandas.read_csv(folder / "prototypes.csv")
  of_run = json.loads((run / "summary.json").read_text())
  assert prototypes.alive.sum() == of_run["alive"]
  assert set(prototypes["class"]) == set(of_run["class_names"])
  # The photographs have 96 pixels, the network's input has 32.
  for small, large in zip(prototypes.box, prototypes.original_box, strict=True):
    assert [3 * int(edge) for edge in small.split()] == [
      int(edge) for edge in large.split()
    ]

  with np.load(folder / "local.npz") as arrays:
    g, delta = arrays["similarity"].astype(float), arrays["delta"]
    names = list(arrays["modification"])
  assert g.shape == (24, len(prototypes))
  assert not delta[:, names.index("identity")].any()
  of_model = json.loads((run / "config.json").read_text())["prototypes"]
  size = of_model["height"] * of_model["width"] * of_model["channels"]
  weight = np.asarray(similarity.load(of_model["similarity"]).weight(g, size))
  expected = (delta * weight[:, None]).sum(0) / weight.sum(0)[None]
  for (j, name), score in _global(folder, "test").items():
    assert score == pytest.approx(expected[names.index(name), j], abs=1e-5)

  local = pandas.read_csv(folder / "local.csv")
  assert local.image.nunique() == 24
  summary = json.loads((folder / "summary.json").read_text())
  assert summary["images"] == 48
  assert summary["preset"]["name"] == "two_sided"
  assert summary["preset"]["mode"] == "fast"
  # Of fewer than 20 living prototypes none stands out for anything.
  enough = prototypes.alive.sum() >= standings.LEAST
  assert (summary["misleading"]["pairs"] > 0) == enough
  assert 0 <= summary["redundancy"]["merged_accuracy"] <= 1
  lines = (folder / "explanations.jsonl").read_text().splitlines()
  kinds = [json.loads(line)["kind"] for line in lines]
  assert kinds.count("image") == 24
  assert kinds.count("prototype") == len(prototypes)
  pictures = {p.name for p in (folder / "png" / "prototypes").iterdir()}
  assert {f"prototype_{j}.png" for j in prototypes.prototype} <= pictures
  statistics = pandas.read_csv(folder / "statistics.csv")
  assert set(statistics.split) == {
    *("train", "test", "train without source"),
    *("train against test", "train without source against test"),
  }
  page = (folder / "report.html").read_text()
  assert not re.search(r"https?:", page)


@pytest.mark.slow
def test_prototypes_alone_on_two_devices(run):
  said, folder = _explain(
    run, "--scope=global", "--split=test", "--limit=30", devices=2
  )
  assert "on 2 x cpu" in said
  assert not (folder / "local.csv").exists()
  assert not (folder / "global_train.csv").exists()
  scores = _global(folder, "test")
  assert np.isfinite(scores).any()
  assert not scores.xs("identity", level="modification").any()


@pytest.mark.slow
def test_images_of_ones_own(run, tmp_path):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 255, (50, 40, 3)).astype(np.uint8)
  Image.fromarray(pixels).save(tmp_path / "a <b> 'c'.png")
  broken = [tmp_path / f"a <b> {i:02}.png" for i in range(12)]
  for path in broken:
    path.write_bytes(b"no image")
  said, folder = _explain(run, f"--images={tmp_path / 'a <b>*.png'}", devices=2)
  for path in broken[:10]:
    assert f"images: skipped {path}: " in said
  assert "images: skipped 2 more" in said
  folder = folder / "images"
  assert pandas.read_csv(folder / "local.csv").image[0].endswith("'c'.png")
  assert "a <b>" not in (folder / "report.html").read_text()


@pytest.mark.slow
def test_stale_prototypes_are_refused(run):
  checkpoints = Checkpoints(run)
  progress, arrays = checkpoints.restore()
  arrays["state.params.prototypes.prototypes"] *= 0.99
  parts = {"params": {}, "statistics": {}, "buffers": {}}
  for name, array in arrays.items():
    owner, _, rest = name.removeprefix("state.").partition(".")
    if owner in parts:
      parts[owner][rest] = array
  checkpoints.save(progress, State(**parts), {})
  checkpoints.close()
  flags = "--limit=2", "--scope=local"
  done = _command("explain.py", f"--workdir={run}", *flags)
  assert done.returncode == 2
  assert "--allow-stale" in done.stderr
  _explain(run, *flags, "--allow-stale")


@pytest.mark.slow
def test_other_classes_are_refused(run):
  path = run / "classes.json"
  names = json.loads(path.read_text())
  path.write_text(json.dumps(["gone", *names[1:]]))
  done = _command("explain.py", f"--workdir={run}", "--scope=local")
  assert done.returncode == 2
  (line,) = done.stderr.strip().splitlines()
  assert f"(gone: gone; new: {names[0]})" in line
  assert "--images" in line


@pytest.mark.slow
def test_a_mistake_is_one_line_and_exit_code_2(run):
  done = _command("explain.py", f"--workdir={run}", "--limit=0")
  assert done.returncode == 2
  (line,) = done.stderr.strip().splitlines()
  assert line.startswith("error: ")
  assert "--limit" in line


@pytest.mark.slow
def test_mistakes_are_one_line(run, tmp_path, capsys):
  """In this process: what a script makes of the error is tested above."""
  cases = [
    (("--images=/nowhere/x.jpg",), "/nowhere/x.jpg"),
    (("--images=x", "--scope=global"), "--scope=local"),
    (("--scope=all",), "--scope"),
    ((f"--workdir={tmp_path}",), "config.json"),
  ]
  for flags, expected in cases:
    try:
      code = command_line.main(["explain", f"--workdir={run}", *flags])
    except SystemExit as stop:
      code = stop.code
    assert code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert expected in line
