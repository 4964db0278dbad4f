"""The commands on a run of PatchCT, in one process."""

import csv
import json

import numpy as np
from PIL import Image
import pytest

from protojax.__main__ import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run on a folder of coloured squares, whose labels are the colours."""
  root = tmp_path_factory.mktemp("squares")
  rng = np.random.default_rng(0)
  lines = ["image,split,red,green"]
  for n in range(24):
    image = rng.integers(0, 60, (36, 36, 3)).astype(np.uint8)
    red, green = n % 2, n // 2 % 2
    image[4:16, 4:16, 0] += np.uint8(150 * red)
    image[20:32, 20:32, 1] += np.uint8(150 * green)
    Image.fromarray(image).save(root / f"{n}.png")
    unknown = "" if n == 5 else green
    split = "train" if n < 16 else "test"
    lines.append(f"{n}.png,{split},{red},{unknown}")
  (root / "labels.csv").write_text("\n".join(lines) + "\n")
  workdir = root.parent / f"{root.name}-run"
  arguments = [
    "--config=patchct_folder:debug",
    f"--config.data.root={root}",
    "--config.data.train=train",
    "--config.data.test=test",
    "--config.align.epochs=0",
    "--config.train.epochs=12",
    "--config.optimizer.average=0.5",
    f"--workdir={workdir}",
  ]
  assert main(["train", *arguments]) == 0
  return root, workdir


def test_a_run_learns_and_says_how_good_it_is(run):
  _, workdir = run
  summary = json.loads((workdir / "summary.json").read_text())
  assert summary["headline"] == "map"
  assert summary["map"] > 0.9
  assert set(summary["labels"]) == {"red", "green"}
  assert list(summary["by_stage"]) == ["01-start", "02-train", "03-average"]
  assert "pointing" not in summary  # A folder has no boxes.


def test_labels_are_predicted(run, tmp_path):
  root, workdir = run
  path = tmp_path / "found.csv"
  arguments = f"--workdir={workdir}", f"--output={path}", "--top=2"
  assert main(["predict", str(root / "1.png"), *arguments]) == 0
  with path.open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["label"] for row in rows] == ["red", "green"]
  assert float(rows[0]["probability"]) > float(rows[1]["probability"])
  assert list(rows[0]) == ["image", "label", "probability", "rank", "present"]


def test_a_run_is_evaluated(run, tmp_path):
  _, workdir = run
  path = tmp_path / "found.json"
  assert main(["evaluate", f"--workdir={workdir}", f"--json={path}"]) == 0
  found = json.loads(path.read_text())["methods"]["patchct"]
  summary = json.loads((workdir / "summary.json").read_text())
  assert found["map"]["mean"] == pytest.approx(summary["map"], abs=1e-6)
  assert "accuracy" not in found


def test_images_of_a_user_are_explained(run):
  root, workdir = run
  arguments = f"--workdir={workdir}", f"--images={root}/1*.png"
  assert main(["explain", *arguments, "--preset=contrast=0.45"]) == 0
  assert (workdir / "explanations/images/report.html").exists()


def test_labels_that_have_changed_are_refused(run, capsys):
  root, workdir = run
  path = root / "labels.csv"
  text = path.read_text()
  path.write_text(text.replace("green", "blue"))
  try:
    assert main(["explain", f"--workdir={workdir}", "--split=test"]) == 2
  finally:
    path.write_text(text)
  assert "gone: green; new: blue" in capsys.readouterr().err
