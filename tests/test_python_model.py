"""A model in Python: `protojax.load`, and what it says of images."""

import ast
import json
from pathlib import Path
import re

import jax
from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest

import protojax as pj
from protojax import methods
from protojax.__main__ import main
from protojax.configs import protopnet_folder
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.explain.inspection import Threshold
from protojax.methods.base import Capabilities
from protojax.model import Model
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
def loaded(model):
  return pj.load(str(model[2]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  """Images of several sizes."""
  folder = tmp_path_factory.mktemp("photos")
  rng = np.random.default_rng(0)
  for i in range(3):
    image = rng.integers(0, 256, (20 + i, 30, 3), np.uint8)
    Image.fromarray(image).save(folder / f"{i}.png")
  return folder


def _run(capsys, *argv):
  assert main(["predict", *map(str, argv)]) == 0
  return capsys.readouterr()


def test_python_says_what_the_command_says(model, loaded, photos, capsys):
  _, state, folder = model
  out, _ = _run(
    capsys, "--workdir", folder, photos, "--format=json", "--top=100"
  )
  said = loaded.predict(photos)
  assert [one.image for one in said] == [o["image"] for o in json.loads(out)]
  for one, told in zip(said, json.loads(out), strict=True):
    assert one.label == told["class"]
    assert one.probabilities == pytest.approx(told["probabilities"], rel=1e-6)
    assert max(one.probabilities.values()) == one.probability
    for found in told["prototypes"]:
      j = found["prototype"]
      assert one.points[j] == pytest.approx(found["points"], rel=1e-6)
      near = pytest.approx(found["similarity"], rel=1e-6)
      assert one.similarities[j] == near
  assert said[0].cells.shape == (6,)
  assert repr(said[0]).endswith(
    f": {said[0].label} ({said[0].probability:.3f})"
  )
  assert loaded.class_names == _CLASSES
  assert list(loaded.bank.alive) == list(state.buffers["alive"])


def test_an_image_may_come_in_many_forms(loaded, photos):
  path = photos / "0.png"
  with Image.open(path) as picture:
    pixels = np.asarray(picture)
    forms = [path, str(path), picture, pixels, jax.numpy.asarray(pixels)]
    said = [loaded.predict(form) for form in forms]
  for one in said:
    np.testing.assert_array_equal(one.points, said[0].points)
  grey = loaded.predict(pixels[..., 0])
  colour = loaded.predict(np.repeat(pixels[..., :1], 3, axis=-1))
  np.testing.assert_array_equal(grey.points, colour.points)
  twice = loaded.predict([path, photos / "1.png", path])
  assert [Path(one.image).name for one in twice] == ["0.png", "1.png", "0.png"]
  several = loaded.predict([pixels, pixels])
  assert [one.image for one in several] == ["image 0", "image 1"]
  batch = loaded.predict(pixels[None])
  assert len(batch) == 1
  for one in [*several, *batch]:
    np.testing.assert_allclose(one.points, said[0].points, rtol=1e-5, atol=1e-6)


def test_no_file_of_a_list_is_left_out(loaded, photos, tmp_path):
  bad = tmp_path / "bad.png"
  bad.write_bytes(b"no image")
  with pytest.raises(UserError, match=r"bad\.png cannot be read: "):
    loaded.predict([photos / "0.png", bad])


def test_files_of_a_folder_that_are_left_out_are_said(
  loaded, photos, tmp_path, caplog
):
  (tmp_path / "good.png").write_bytes((photos / "0.png").read_bytes())
  (tmp_path / "bad.png").write_bytes(b"no image")
  (tmp_path / "phone.heic").touch()
  assert len(loaded.predict(tmp_path)) == 1
  bad, phone = sorted(caplog.messages)
  assert re.fullmatch(r"images: skipped .*bad\.png: .+", bad)
  assert "phone.heic: .heic is not read" in phone
  caplog.clear()
  assert len(loaded.predict(photos)) == 3
  assert not caplog.messages


@pytest.mark.parametrize(
  ("images", "said"),
  [
    (np.zeros((4, 4, 3)), r"type float64; .*255 \* x"),
    (np.zeros((4, 4, 3), int), "type int64"),
    (np.zeros((4, 4, 2), np.uint8), "shape 4x4x2"),
    (np.zeros((0, 4, 3), np.uint8), "shape 0x4x3"),
    (Image.new("F", (4, 4)), "floating-point pixels"),
    ([], "an empty list"),
    (3, "found int; expected a path"),
    (["a.png", np.zeros((4, 4, 3), np.uint8)], "paths and the pictures apart"),
    ("absent.png", "no image at absent.png"),
  ],
)
def test_what_is_no_image_is_refused(loaded, images, said):
  with pytest.raises(UserError, match=said):
    loaded.predict(images)


class _Brightness:
  """A method that inspects: bright images are defective."""

  capabilities = Capabilities(inspects=lambda method: method)
  config = ConfigDict({"method": "brightness", "data": {"image_size": 8}})

  def predict(self, state, batch):
    return {"score": batch["image"].astype("float32").max(axis=(1, 2, 3))}

  def threshold(self, state):
    return Threshold(100.0, 0.05, 19)


def test_a_detector_in_python():
  method = _Brightness()
  model = Model(Path("run"), method, State({}, {}, {}), method.config)
  greys = [np.full((9, 7, 3), grey, np.uint8) for grey in (99, 100, 101)]
  said = model.predict(greys)
  assert [one.defective for one in said] == [False, False, True]
  assert repr(said[-1]) == "image 2: defective (101 of 100)"
  assert repr(model) == "brightness of run"
  with pytest.raises(UserError, match="does not classify images"):
    model.class_names  # noqa: B018


class _Tints:
  """A method that gives several labels: the colours that are bright."""

  capabilities = Capabilities(tags=lambda method: method)
  config = ConfigDict({"method": "tints", "data": {"image_size": 8}})
  class_names = "red", "green", "blue"
  threshold = 0.5

  def predict(self, state, batch):
    return {
      "probabilities": batch["image"].astype("float32").mean((1, 2)) / 255
    }


def test_several_labels_in_python():
  method = _Tints()
  model = Model(Path("run"), method, State({}, {}, {}), method.config)
  colours = [(140, 0, 250), (0, 0, 0)]
  said = model.predict([np.full((9, 7, 3), c, np.uint8) for c in colours])
  assert [one.labels for one in said] == [("blue", "red"), ()]
  assert list(said[0].probabilities) == ["blue", "red", "green"]
  assert model.class_names == _Tints.class_names
  assert [repr(one) for one in said] == [
    "image 0: blue, red",
    "image 1: no label",
  ]


def test_the_public_names():
  # A type checker sees the imports, a program what is looked up.
  tree = ast.parse(Path(pj.__file__).read_text("utf-8"))
  (block,) = (node for node in tree.body if isinstance(node, ast.If))
  seen = {
    alias.name: node.module
    for node in ast.walk(block)
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
  }
  assert seen == pj._PLACES
  assert sorted(seen) == pj.__all__
  assert (Path(pj.__file__).parent / "py.typed").is_file()
  assert set(pj.__all__) <= set(dir(pj))
  assert all(getattr(pj, name) is not None for name in pj.__all__)
  with pytest.raises(AttributeError, match="no attribute 'laod'"):
    pj.laod  # noqa: B018
