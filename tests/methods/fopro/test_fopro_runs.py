"""Whole runs of FoPro on a small web of coloured squares."""

import csv
import json

import numpy as np
from PIL import Image
import pytest

import protojax
from protojax.__main__ import main
from protojax.explain import familiarity

pytestmark = pytest.mark.slow

_CLASSES = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}
# One stage of descent alone.
_NONE = {
  "stages.frozen": 0,
  "stages.start": 0,
  "stages.contrast": 0,
  "stages.relate": 0,
  "stages.clean": 0,
  "cleaning.mode": 1,
}


def _square(path, colour, rng):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = rng.normal(colour, 25, (16, 16, 3))
  Image.fromarray(np.uint8(np.clip(pixels, 0, 255))).save(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """Ten web images of a class, two of them of the next; two to test on."""
  root, rng = tmp_path_factory.mktemp("web"), np.random.default_rng(0)
  names, lines = list(_CLASSES), ["image,truth"]
  for k, name in enumerate(names):
    for n in range(10):
      shown = names[(k + (n < 2)) % 3]
      file = f"web/{name}/{n}.png"
      _square(root / file, _CLASSES[shown], rng)
      lines.append(f"{file},{shown}")
    for part in ("clean", "test"):
      for n in range(2):
        _square(root / part / name / f"{n}.png", _CLASSES[name], rng)
  (root / "truth.csv").write_text("\n".join(lines))
  return root


def _run(root, workdir, **changes):
  keys = {
    "data.root": root,
    "batch_size": 8,
    "backbone.name": "convnet_local",
    **changes,
  }
  arguments = [f"--config.{key}={value}" for key, value in keys.items()]
  config = "--config=fopro_folder:debug"
  assert main(["train", config, *arguments, f"--workdir={workdir}"]) == 0
  summary = json.loads((workdir / "summary.json").read_text())
  with (workdir / "cleaning.csv").open(newline="") as file:
    return summary, list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
  """With cleaned labels and mix-up; some of the web is held out."""
  workdir = tmp_path_factory.mktemp("run")
  changes = {
    **_NONE,
    "stages.relate": 1,
    "stages.clean": 1,
    "cleaning.mode": 3,
    "mixup.epochs": 1,
    "mixup.probability": 1.0,
    "data.validation_fraction": 0.2,
  }
  return workdir, *_run(root, workdir, **changes)


def test_mix_up_follows_the_verdicts_and_the_gap_is_told(run):
  _, summary, rows = run
  names = [stage["id"].partition("-")[2] for stage in summary["stages"]]
  assert names == ["prototypes", "relate", "clean", "verdicts", "mixup"]
  assert np.isfinite(summary["stages"][-1]["metrics"]["mixed"])
  apart = summary["validation"]["accuracy"] - summary["metrics"]["accuracy"]
  assert summary["domain_gap"] == pytest.approx(apart)
  assert 0 <= summary["noise_auroc"] <= 1
  # Six of the 30 web images are held out; six are few-shot images.
  assert len(rows) == 24 + 6
  assert sum(row["few_shot"] == "yes" for row in rows) == 6


def test_its_largest_logit_says_how_familiar_an_image_is(root, run, capsys):
  workdir, *_ = run
  known = familiarity.read(workdir)
  assert (known.split, known.by, known.others) == (
    "validation",
    "largest logit",
    6,
  )
  path = root / "test" / "red" / "0.png"
  capsys.readouterr()
  arguments = f"--workdir={workdir}", str(path), "--format=json"
  assert main(["predict", *arguments]) == 0
  (told,) = json.loads(capsys.readouterr().out)
  assert 0 < told["familiarity"] <= 100
  assert told["unfamiliar"] == (told["familiarity"] < familiarity.UNFAMILIAR)
  found = protojax.load(workdir).predict(path)
  assert found.familiarity == pytest.approx(told["familiarity"])
  why = protojax.load(workdir).explain(path)
  assert why.as_html().count("images the model knows") == 1
  judged, others = workdir / "judged.json", root / "clean"
  arguments = f"--workdir={workdir}", f"--ood={others}", f"--json={judged}"
  assert main(["evaluate", *arguments]) == 0
  assert "unfamiliar_outliers" in judged.read_text()


def test_a_corrected_list_is_learned_from(root, run, tmp_path):
  """Without few-shot images: prototypes are of the web.

  Behind bilinear pooling and one layer, as in a B-CNN; images have fewer pixels
  than the square that is cut out of them.
  """
  folder, _, rows = run
  web = [row for row in rows if not row["few_shot"]]
  web[0] |= {"verdict": "dropped"}
  web[1] |= {"verdict": "relabelled", "label": "red", "checked": "yes"}
  path = tmp_path / "corrected.csv"
  with path.open("w", newline="") as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(web[:2])
  summary, again = _run(
    root,
    tmp_path / "again",
    **{
      **_NONE,
      "stages.contrast": 1,
      "cleaning.corrected": path,
      "data.shots": 0,
      "data.validation_fraction": 0.2,
      "data.image_size": 24,
      "data.resize": "aspect",
      "data.resize_size": 28,
      "network.pooling": "bilinear",
      "network.hidden": 0,
    },
  )
  assert "relabelled" in summary
  assert -1 <= summary["metrics"]["prototype_cosine"] <= 1
  assert np.isfinite(summary["metrics"]["cross_entropy"])
  found = {row["image"]: row for row in again}
  assert found.keys() == {row["image"] for row in web}
  taught = found.pop(web[1]["image"])
  assert taught["given_label"] == taught["label"] == "red"
  assert taught["few_shot"] == "yes"
  assert not any(row["few_shot"] for row in found.values())
  assert found[web[2]["image"]]["given_label"] == web[2]["given_label"]
  assert (folder / "cleaning.csv").read_text() != path.read_text()
