"""`python -m protojax predict`: one's own images through a trained model."""

import csv
import json
from pathlib import Path
import shutil

import jax
import ml_collections
import numpy as np
from PIL import Image
import pytest

from configs import protopnet_folder
from protojax import loading, methods
from protojax.__main__ import main
from protojax.data.resizing import SQUASH
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.explain import familiarity
from protojax.explain.inspection import Threshold
from protojax.methods.base import Capabilities
from protojax.types import State, UserError
from tests import starts

_CLASSES = ("cat", "dög", 'a "b", <c>')
_DEAD = 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  """Method, state and workdir of a run whose training images are gone."""
  config = protopnet_folder.get_config("debug").unlock()
  # Not a multiple of the tests' two devices.
  config.batch_size = 3
  config.data.update({"name": "folder", "root": "/gone"})
  method = methods.load(config.lock(), _CLASSES)
  state = starts.begun(method.init)
  state.buffers["alive"] = np.arange(6) != _DEAD

  folder = tmp_path_factory.mktemp("runs") / "run"
  workdir.claim(folder, config, methods.later)
  workdir.claim_classes(folder, _CLASSES)
  checkpoints = Checkpoints(folder)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  (folder / "summary.json").write_text("{}")
  return method, state, folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  """Seven images, a broken one among them."""
  folder = tmp_path_factory.mktemp("photos")
  rng = np.random.default_rng(0)
  for i in range(7):
    image = rng.integers(0, 256, (20 + i, 30, 3), np.uint8)
    Image.fromarray(image).save(folder / f"{i}.png")
  (folder / "3.png").write_bytes(b"no image")
  return folder


def _run(capsys, *argv):
  assert main(["predict", *map(str, argv)]) == 0
  return capsys.readouterr()


def _rows(text):
  return list(csv.DictReader(text.splitlines()))


def test_csv_is_what_the_model_says(model, photos, capsys):
  method, state, folder = model
  out, err = _run(capsys, "--workdir", folder, photos)
  assert out.splitlines()[0] == (
    "image,class,probability,rank,prototype,prototype_class,similarity,points,"
    "familiarity"
  )
  rows = _rows(out)
  names = [str(photos / f"{i}.png") for i in range(7) if i != 3]
  assert [row["image"] for row in rows] == list(np.repeat(names, 3))
  assert [row["rank"] for row in rows] == ["1", "2", "3"] * 6
  assert "skipped" in err
  assert "note:" not in err
  assert str(photos / "3.png") in err
  assert err.endswith("images: 6, skipped: 1\n")

  weights = state.params["head"]["weight"]
  images = [np.asarray(Image.open(name)) for name in names]
  images = np.stack(
    [SQUASH.frame((1, 1), 32).pixels(image) for image in images]
  )
  found = jax.device_get(jax.jit(method.predict)(state, {"image": images}))
  for row in rows:
    i, j = names.index(row["image"]), int(row["prototype"])
    logits, score = found["logits"][i], found["similarities"][i, j]
    k = int(logits.argmax())
    assert row["class"] == _CLASSES[k]
    assert row["prototype_class"] == _CLASSES[j // 2]
    share = np.exp(logits[k]) / np.exp(logits).sum()
    np.testing.assert_allclose(float(row["probability"]), share, rtol=1e-5)
    np.testing.assert_allclose(float(row["similarity"]), score, rtol=1e-5)
    points = score * weights[k, j]
    np.testing.assert_allclose(float(row["points"]), points, rtol=1e-5)


def test_what_the_model_does_not_know_is_said(model, photos, tmp_path, capsys):
  _, _, folder = model
  shutil.copytree(folder, tmp_path / "run")
  out, _ = _run(capsys, "--workdir", folder, photos, "--top=9")
  best = {}
  for row in _rows(out):
    assert row["familiarity"] == ""
    best.setdefault(row["image"], float(row["similarity"]))
  # All but the least familiar image are like the known ones.
  least, second = sorted(best.values())[:2]
  known = np.full(99, (least + second) / 2)
  familiarity.write(
    tmp_path / "run", familiarity.Familiarity("test", known, 8, 0.125)
  )
  given = "--workdir", tmp_path / "run", photos
  out, err = _run(capsys, *given, "--top=1")
  for row in _rows(out):
    wanted = 1 if best[row["image"]] == least else 100
    assert float(row["familiarity"]) == wanted
  assert "unlike the images the model knows: 1. Said of 1 in 20" in err
  out, _ = _run(capsys, *given, "--format=json")
  told = {one["image"]: one["unfamiliar"] for one in json.loads(out)}
  assert told == {name: x == least for name, x in best.items()}


def test_images_are_cut_as_the_run_says(model, photos, tmp_path, capsys):
  """The middle of the image, which a run of squashed images sees as a whole."""
  _, _, folder = model
  shutil.copytree(folder, tmp_path / "run")
  config = json.loads((folder / "config.json").read_text())
  config["data"].update(resize="aspect", resize_size=40)
  (tmp_path / "run" / "config.json").write_text(json.dumps(config))
  image = Image.open(photos / "0.png")  # 20 x 30 becomes 40 x 60
  image = image.resize((60, 40), Image.Resampling.BILINEAR)
  image.crop((14, 4, 46, 36)).save(tmp_path / "middle.png")
  given = "--workdir", tmp_path / "run", photos / "0.png"
  out, _ = _run(capsys, *given)
  middle, _ = _run(capsys, "--workdir", folder, tmp_path / "middle.png")
  whole, _ = _run(capsys, "--workdir", folder, photos / "0.png")
  found, expected, other = (
    [row["similarity"] for row in _rows(text)] for text in (out, middle, whole)
  )
  assert found == expected
  assert found != other


def test_points_of_all_prototypes_sum_to_the_logits(model, photos, capsys):
  _, _, folder = model
  path = photos / "0.png"
  out, _ = _run(capsys, "--workdir", folder, path, "--top=99", "--format=json")
  (found,) = json.loads(out)
  listed = [p["prototype"] for p in found["prototypes"]]
  assert sorted(listed) == [j for j in range(6) if j != _DEAD]
  similarity = [p["similarity"] for p in found["prototypes"]]
  assert similarity == sorted(similarity, reverse=True)
  # Of a fresh head: its own class counts 1, the others -0.5.
  logits = [
    sum(
      p["similarity"] * (1 if p["class"] == name else -0.5)
      for p in found["prototypes"]
    )
    for name in _CLASSES
  ]
  shares = np.exp(logits) / np.exp(logits).sum()
  np.testing.assert_allclose(
    list(found["probabilities"].values()), shares, rtol=1e-4
  )
  assert tuple(found["probabilities"]) == _CLASSES
  assert found["probability"] == max(found["probabilities"].values())
  total = sum(p["points"] for p in found["prototypes"])
  np.testing.assert_allclose(total, max(logits), rtol=1e-4)


def test_without_prototypes_an_image_is_a_row(model, photos, capsys):
  _, _, folder = model
  out, _ = _run(capsys, "--workdir", folder, photos / "*.png", "--top=0")
  rows = _rows(out)
  assert len(rows) == 6
  assert all(row["prototype"] == row["points"] == "" for row in rows)


def test_the_newest_run_is_taken(model, photos, capsys, monkeypatch):
  _, _, folder = model
  monkeypatch.chdir(folder.parents[0])
  Path("runs").symlink_to(".")
  out, _ = _run(capsys, "--top=1", photos / "1.png")
  assert len(_rows(out)) == 1


def test_a_file_appears_whole_or_not_at_all(model, photos, capsys, tmp_path):
  _, _, folder = model
  path = tmp_path / "deep" / "found.csv"
  argv = ("--workdir", folder, "--output", path)
  out, _ = _run(capsys, *argv, photos)
  before = path.read_text()
  assert out == ""
  assert len(_rows(before)) == 18
  assert main(["predict", *map(str, argv), str(photos / "3.png")]) == 2
  assert path.read_text() == before
  assert [p.name for p in path.parent.iterdir()] == ["found.csv"]


def test_names_that_are_not_utf8(model, photos, capsys, tmp_path):
  _, _, folder = model
  try:
    (tmp_path / "\udcff.png").write_bytes((photos / "0.png").read_bytes())
  except OSError:
    pytest.skip("this file system takes UTF-8 names alone")
  out, _ = _run(capsys, "--workdir", folder, tmp_path)
  assert _rows(out)[0]["image"].endswith("\\xff.png")


def test_a_run_that_goes_on_is_noted(model, photos, capsys, tmp_path):
  _, state, folder = model
  config = workdir.load_config(folder, methods.later)
  workdir.claim(tmp_path, config, methods.later)
  workdir.claim_classes(tmp_path, _CLASSES)
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(Progress(stage=3), state, {})
  checkpoints.close()
  _, err = _run(capsys, "--workdir", tmp_path, photos / "0.png")
  assert f"note: {tmp_path} is not trained to its end" in err


class _Brightness:
  """A method that inspects: bright images are defective."""

  capabilities = Capabilities(inspects=lambda method: method)

  def predict(self, state, batch):
    pixels = batch["image"].astype("float32")
    # The map is of no use here, and shall not get in the way.
    return {"score": pixels.max(axis=(1, 2, 3)) / 256, "map": pixels[..., 0]}

  def threshold(self, state):
    if np.isinf(state.buffers["threshold"]):
      raise UserError("no threshold yet")
    return Threshold(float(state.buffers["threshold"]), 0.05, 19)


@pytest.fixture
def detector(monkeypatch, tmp_path):
  """Folder of a finished run of `_Brightness`, and images of each score."""
  config = ml_collections.ConfigDict(
    {"method": "brightness", "batch_size": 3, "data": {"image_size": 8}}
  )
  # As much as grey 100, exactly: a power of two divides without rounding.
  state = State({}, {}, {"threshold": np.float32(100 / 256)})
  loaded = _Brightness(), state, config
  monkeypatch.setattr(loading, "load", lambda folder: loaded)
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "summary.json").write_text("{}")
  (tmp_path / "seen").mkdir()
  for grey in (99, 100, 101, 200):
    image = np.full((9, 7, 3), grey, np.uint8)
    Image.fromarray(image).save(tmp_path / "seen" / f"{grey:03d}.png")
  (tmp_path / "seen" / "bad.png").write_bytes(b"no image")
  return tmp_path / "run", tmp_path / "seen"


def test_a_detector_has_a_row_for_each_image(detector, capsys):
  folder, seen = detector
  out, err = _run(capsys, "--workdir", folder, seen, "--top=2")
  assert out.splitlines()[0] == "image,score,threshold,defective"
  assert "note:" not in err
  assert err.endswith("images: 4, skipped: 1\n")
  rows = _rows(out)
  assert [row["image"] for row in rows] == [
    str(seen / f"{grey:03d}.png") for grey in (99, 100, 101, 200)
  ]
  # At the threshold an image is normal.
  assert [row["defective"] for row in rows] == ["0", "0", "1", "1"]
  for row, grey in zip(rows, (99, 100, 101, 200), strict=True):
    np.testing.assert_allclose(float(row["score"]), grey / 256, rtol=1e-6)
    np.testing.assert_allclose(float(row["threshold"]), 100 / 256, rtol=1e-6)


def test_a_detector_in_json(detector, capsys):
  folder, seen = detector
  out, _ = _run(capsys, "--workdir", folder, seen, "--format=json")
  found = json.loads(out)
  assert [set(one) for one in found] == 4 * [
    {"image", "score", "threshold", "defective"}
  ]
  assert [one["defective"] for one in found] == [False, False, True, True]


def test_a_config_need_not_say_the_batch_size(detector, capsys):
  run, seen = detector
  _, _, config = loading.load(run)
  whole, _ = _run(capsys, "--workdir", run, seen)
  with config.unlocked():
    del config.batch_size
  assert _run(capsys, "--workdir", run, seen)[0] == whole


def test_what_is_not_a_number_is_not_called_normal(
  detector, capsys, monkeypatch
):
  folder, seen = detector

  def predict(self, state, batch):
    return {"score": batch["image"].astype("float32").max((1, 2, 3)) * np.nan}

  monkeypatch.setattr(_Brightness, "predict", predict)
  out, _ = _run(capsys, "--workdir", folder, seen)
  assert {row["defective"] for row in _rows(out)} == {"1"}


def test_without_a_threshold_nothing_is_written(detector, capsys, monkeypatch):
  folder, seen = detector
  method, state, config = loading.load(folder)
  state = state.replace(buffers={"threshold": np.float32(np.inf)})
  monkeypatch.setattr(loading, "load", lambda folder: (method, state, config))
  assert main(["predict", "--workdir", str(folder), str(seen)]) == 2
  out, err = capsys.readouterr()
  assert out == ""
  assert err == "error: no threshold yet\n"


def test_mistakes_are_one_line(model, photos, capsys, tmp_path, monkeypatch):
  _, _, folder = model
  monkeypatch.chdir(tmp_path)
  half = tmp_path / "half"
  workdir.claim(half, workdir.load_config(folder, methods.later), methods.later)
  workdir.claim_classes(half, _CLASSES)
  good, bad = photos / "0.png", photos / "3.png"
  for argv, named in [
    (["--workdir", folder, bad], "3.png"),
    (["--workdir", folder, good, tmp_path / "none.png"], "none.png"),
    (["--workdir", folder, half], "half"),
    (["--workdir", tmp_path, good], "holds no run"),
    (["--workdir", half, good], "no checkpoint"),
    ([good], "runs/"),
    (["--workdir", folder, "--output", tmp_path, good], "is a folder"),
    (["--workdir", folder, "--output", bad / "x", good], f"{bad / 'x'} could"),
  ]:
    assert main(["predict", *map(str, argv)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert named in err
    assert err.count("\n") == 1


def test_no_image_is_replaced_by_its_prediction(model, photos, capsys):
  _, _, folder = model
  for name in "0.png", "3.png":
    before = (photos / name).read_bytes()
    argv = ["--workdir", folder, "--output", photos / name, photos]
    assert main(["predict", *map(str, argv)]) == 2
    assert f"{name}, which is read" in capsys.readouterr().err
    assert (photos / name).read_bytes() == before
