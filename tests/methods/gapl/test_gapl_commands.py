"""The commands on a run of GAPL, in one process."""

import csv
import json

import jax.export
import numpy as np
from PIL import Image
import pytest

import protojax as pj
from protojax.__main__ import main
from protojax.evaluation import robustness

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run on smooth images, of which generators make chequered ones."""
  root = tmp_path_factory.mktemp("images")
  rng = np.random.default_rng(0)
  y, x = np.indices((32, 32))
  for generator in ("a", "b", "c"):
    for kind in ("real", "fake"):
      folder = root / generator / kind
      folder.mkdir(parents=True)
      for n in range(12):
        wave = np.sin(x / rng.uniform(3, 6)) * np.cos(y / rng.uniform(3, 6))
        image = 120 + 60 * wave[..., None] + rng.uniform(-20, 20, 3)
        if kind == "fake":
          image = image + 25 * ((-1.0) ** (x + y))[..., None]
        Image.fromarray(np.uint8(np.clip(image, 0, 255))).save(
          folder / f"{n}.png"
        )
  workdir = root.parent / f"{root.name}-run"
  arguments = [
    "--config=gapl_folder:debug",
    f"--config.data.root={root}",
    "--config.data.held_out=('c',)",
    "--config.data.validation_fraction=0.4",
    "--config.first.epochs=10",
    "--config.first.rate=0.01",
    "--config.second.epochs=12",
    "--config.second.rate=0.01",
    "--config.batch_size=8",
    f"--workdir={workdir}",
  ]
  assert main(["train", *arguments]) == 0
  return root, workdir


def test_a_run_tells_generated_images_of_another_generator(run):
  _, workdir = run
  summary = json.loads((workdir / "summary.json").read_text())
  assert summary["metrics"]["accuracy"] > 0.9
  assert summary["metrics"]["ap"] > 0.95
  assert summary["metrics"]["accuracy_held_out"] > 0.8
  assert list(summary["by_generator"]) == ["c"]
  assert not (workdir / "familiarity.json").exists()
  assert 0 < summary["threshold"] < 1


def test_verdicts_come_with_prototypes(run, tmp_path):
  root, workdir = run
  path = tmp_path / "found.csv"
  images = [str(root / f"c/{kind}/1.png") for kind in ("real", "fake")]
  arguments = f"--workdir={workdir}", f"--output={path}", "--top=2"
  assert main(["predict", *images, *arguments]) == 0
  with path.open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["class"] for row in rows] == 2 * ["real"] + 2 * ["generated"]
  assert {row["prototype_class"] for row in rows} <= {"real", "generated"}
  assert all(0 < float(row["similarity"]) < 1 for row in rows)


def test_verdicts_are_those_of_an_exported_program(run, tmp_path):
  pytest.importorskip("flatbuffers")
  root, workdir = run
  output = tmp_path / "program"
  arguments = [f"--workdir={workdir}", f"--output={output}"]
  assert main(["export", *arguments]) == 0
  facts = json.loads((output / "prototypes.json").read_text())
  assert facts["classes"] == ["real", "generated"]
  assert [p["class"] for p in facts["prototypes"]] == (
    ["real"] * 4 + ["generated"] * 4
  )
  program = jax.export.deserialize(
    bytearray((output / "predict.jax").read_bytes())
  )
  weights = dict(np.load(output / "weights.npz"))
  files = [root / "c" / kind / "0.png" for kind in ("real", "fake")]
  images = np.stack([np.asarray(Image.open(file)) for file in files])
  found = program.call(weights, images)
  loaded = pj.load(workdir)
  for image, probabilities in zip(images, found["probabilities"], strict=True):
    expected = loaded.predict(image).probabilities
    np.testing.assert_allclose(
      probabilities, [expected[name] for name in facts["classes"]], atol=1e-5
    )


def test_images_are_explained(run):
  root, workdir = run
  arguments = f"--workdir={workdir}", "--preset=contrast=0.45", "--limit=6"
  assert main(["explain", *arguments, "--split=test"]) == 0
  report = (workdir / "explanations/report.html").read_text()
  assert "Directions of generated images" in report
  assert main(["explain", *arguments, f"--images={root}/c/fake/1*.png"]) == 0
  assert (workdir / "explanations/images/report.html").exists()


def test_verdicts_on_corrupted_images_are_judged(
  run, tmp_path, capsys, monkeypatch
):
  _, workdir = run
  monkeypatch.setattr(robustness, "STRENGTHS", {"blur": (3.0,)})
  path = tmp_path / "found.json"
  arguments = "--robustness", f"--workdir={workdir}", f"--json={path}"
  assert main(["evaluate", *arguments]) == 0
  found = json.loads(path.read_text())["robustness"]
  assert found["clean"][""]["accuracy"] > 0.9
  # The traces are as fine as can be: blur takes them away.
  assert found["blur"]["3"]["accuracy"] < 0.7
  assert "| blur" in capsys.readouterr().out


def test_verdicts_are_judged(run, tmp_path):
  root, workdir = run
  path = tmp_path / "found.json"
  arguments = f"--workdir={workdir}", f"--ood={root}/c", f"--json={path}"
  assert main(["evaluate", *arguments]) == 0
  found = json.loads(path.read_text())["methods"]["gapl"]
  assert 0 < found["outlier_auroc"]["mean"] < 1
  summary = json.loads((workdir / "summary.json").read_text())
  for name in ("accuracy", "ap", "worst_generator"):
    assert found[name]["mean"] == pytest.approx(summary["metrics"][name])
