"""`simulate` on a run of the embedded device, as a user types it."""

import json
import types

import numpy as np
import pytest

from protojax import cli, loading
from protojax.datasets import device_sheet
from protojax.datasets import simulated_acquisition as simulated
from protojax.methods import base

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """Its workdir."""
  folder = tmp_path_factory.mktemp("irca")
  arguments = ["--config=configs/irca_folder.py:debug", f"--workdir={folder}"]
  assert cli.run("train", arguments, "train.py") == 0
  return folder


def simulate(run, tmp_path, cube, *arguments):
  np.save(tmp_path / "cube.npy", cube)
  typed = [
    f"--workdir={run}",
    f"--cube={tmp_path / 'cube.npy'}",
    f"--output={tmp_path / 'made.npy'}",
    *arguments,
  ]
  return cli.run("simulate", typed, "python -m protojax")


def test_a_scene_becomes_interferograms_and_an_image(run, tmp_path, capsys):
  cube = np.random.default_rng(0).uniform(0, 1, (5, 6, simulated.SOURCES))
  assert simulate(run, tmp_path, cube) == 0
  assert "5 x 6 x 40" in capsys.readouterr().out
  made = np.load(tmp_path / "made.npy")
  method, state, _ = loading.load(run)
  simulates = method.capabilities.simulates(method)
  expected = simulates.simulate(state, {"cube": cube})["interferograms"]
  np.testing.assert_allclose(made, expected, rtol=1e-9)
  sheet = {
    "image_size": [30, 50],
    "subimage_size": [6, 6],
    "subimage_amount": [5, 8],
    "subimage_center": [3, 3],
  }
  path = tmp_path / "device.json"
  path.write_text(json.dumps(sheet))
  assert simulate(run, tmp_path, cube, f"--sheet={path}") == 0
  image = np.load(tmp_path / "made.npy")
  np.testing.assert_allclose(
    image, device_sheet.mosaic(made, device_sheet.read(path)), rtol=1e-9
  )


def test_what_does_not_fit_is_one_line(run, tmp_path, capsys, monkeypatch):
  cube = np.ones((2, 2, 3))
  assert simulate(run, tmp_path, cube) == 2
  said = capsys.readouterr().err
  assert "3 bands and there are 160 wavenumbers" in said
  assert said.count("\n") == 1
  assert not (tmp_path / "made.npy").exists()
  arguments = [f"--workdir={run}", "--cube=nowhere.npy", "--output=x.npy"]
  assert cli.run("simulate", arguments, "") == 2
  assert "nowhere.npy is not an array of NumPy" in capsys.readouterr().err
  # A run of a method that does something else.
  other = types.SimpleNamespace(
    capabilities=base.Capabilities(),
    config=types.SimpleNamespace(method="other"),
  )
  monkeypatch.setattr(loading, "load", lambda folder: (other, None, None))
  assert simulate(run, tmp_path, cube) == 2
  assert "does not simulate; methods that do: irca" in capsys.readouterr().err


def test_the_run_leaves_its_files_and_finds_the_truth(run):
  made = np.load(run / "characterization.npz")
  truth = simulated.truth()
  apart = np.abs(made["opd"] - truth["opd"])
  assert np.mean(apart < 3 * made["deviations"][:, 0]) >= 0.95
  summary = json.loads((run / "summary.json").read_text())
  assert summary["converged"] == summary["interferometers"] == 40
  assert summary["rmse"] == pytest.approx(simulated.NOISE, rel=0.1)
  names = {path.name for path in (run / "characterization").iterdir()}
  assert names == {
    *(f"{name}.npy" for name in ("opd", "phase_shift", "reflectivity", "gain")),
    "options.json",
  }


def test_it_is_explained(run):
  arguments = [f"--workdir={run}", "--limit=3", "--format=html,csv,json"]
  assert cli.run("explain", arguments, "explain.py") == 0
  folder = run / "explanations"
  assert "Staircase" in (folder / "report.html").read_text("utf-8")
  table = (folder / "tables" / "interferometers.csv").read_text("utf-8")
  assert table.count("\n") == 41
