"""An exported classifier answers as the model, where protojax is not."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from protojax import __main__ as command_line
from protojax import cli, loading
from protojax.operations import exporting
from protojax.types import UserError
from tests.commands.exported_runs import random_run

pytest.importorskip("flatbuffers")

# What the README shows, with the answers saved.
_LOADER = """
import json
from pathlib import Path
import sys

import jax.export
import numpy as np

folder, images = Path(sys.argv[1]), np.load(sys.argv[2])
facts = json.loads((folder / "prototypes.json").read_text(encoding="utf-8"))
weights = dict(np.load(folder / "weights.npz"))
program = {
  name: jax.export.deserialize(bytearray((folder / f"{name}.jax").read_bytes()))
  for name in ("predict", "maps")
}

found = program["predict"].call(weights, images)
for logits, points in zip(found["logits"], found["points"]):
  best = facts["prototypes"][points.argmax()]
  print(facts["classes"][logits.argmax()], "like", best["image"], best["cell"])
chosen = np.array([0, 2], np.int32)
maps = program["maps"].call(weights, images, chosen)

np.savez(sys.argv[3], maps=maps, **found)
assert not any(name.startswith("protojax") for name in sys.modules)
assert not any(name in sys.modules for name in ("flax", "orbax"))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return random_run(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def exported(run):
  folder = run.parent / "exported"
  argv = ["export", f"--workdir={run}", f"--output={folder}"]
  assert command_line.main(argv) == 0
  return folder


@pytest.mark.slow
def test_another_process_gives_the_same_answers(run, exported):
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
  np.save(run.parent / "images.npy", images)
  done = subprocess.run(
    [sys.executable, "-c", _LOADER, exported, "images.npy", "found.npz"],
    cwd=run.parent,
    capture_output=True,
    encoding="utf-8",
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.splitlines()) == 3
  assert " like " in done.stdout
  found = np.load(run.parent / "found.npz")

  method, state, _ = loading.load(run)
  alive = np.flatnonzero(state.buffers["alive"])
  expected = jax.jit(method.predict)(state, {"image": images})
  for name in "logits", "probabilities":
    np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
  for name in "similarities", "points":
    np.testing.assert_allclose(found[name], expected[name][:, alive], atol=1e-5)
  np.testing.assert_array_equal(found["cells"], expected["cells"][:, alive])
  some = alive[[0, 2]].astype(np.int32)
  maps = jax.jit(method.network.maps)(state, images, some)
  np.testing.assert_allclose(found["maps"], maps, atol=1e-5)


def test_prototypes_are_told_by_their_numbers_in_the_run(exported):
  facts = json.loads((exported / "prototypes.json").read_text("utf-8"))
  assert facts["classes"] == ["cat", "dog's <b>", "\u00fc"]
  assert facts["grid"] == [4, 4]
  squashed = {"kind": "squash", "to": 32, "interpolation": "bilinear"}
  assert facts["resize"] == squashed
  assert facts["stale"]
  assert facts["difference"] <= 1e-5
  found = facts["prototypes"]
  assert [one["prototype"] for one in found] == [0, 2, 3, 5]
  assert [one["class"] for one in found][:2] == ["cat", "dog's <b>"]
  # The images are gone, so that their places in the data set are left.
  assert [one["image"] for one in found] == [4, None, 2, 3]
  assert found[2]["cell"] == [2, 1]


def test_an_export_that_is_not_the_model_is_not_written(
  run, monkeypatch, capsys, tmp_path
):
  monkeypatch.setattr(exporting, "difference", lambda *_: float("nan"))
  argv = ["export", f"--workdir={run}", f"--output={tmp_path / 'out'}"]
  assert command_line.main(argv) == 2
  assert "differ by nan from the model" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_differences_are_of_one_or_of_the_value():
  one = np.array([0.5, 200.0], np.float32)
  assert exporting.apart(one, one) == 0
  assert exporting.apart(one, one + np.float32([1e-3, 0])) > 9e-4
  assert exporting.apart(one, one + np.float32([0, 1e-3])) < 9e-6


def test_the_extra_is_named(run, monkeypatch, tmp_path):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  args = [f"--workdir={run}", f"--output={tmp_path}"]
  _, parsed = cli.parse("export", args)
  with pytest.raises(UserError, match=r"pip install -e '\.\[export\]'"):
    exporting.run(parsed)
