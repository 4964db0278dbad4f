"""Runs that give each pixel a class: export, evaluate, and Python."""

import json

import jax
import jax.export
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from configs import scaleprotoseg_folder
import protojax as pj
from protojax import __main__ as command_line
from protojax import loading, methods
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.evaluation import measure
from protojax.operations import onnx_model
from tests import starts


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run with random weights whose groups answer."""
  folder = tmp_path_factory.mktemp("dense") / "run"
  config = scaleprotoseg_folder.get_config("debug")
  method = methods.load(config)
  state = starts.begun(method.init)
  state.buffers["grouped"] = np.ones((), bool)
  workdir.claim(folder, config, methods.later)
  workdir.claim_classes(folder, method.dataset.class_names)
  checkpoints = Checkpoints(folder)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  (folder / "summary.json").write_text("{}")
  return folder


def test_an_exported_program_gives_the_classes_of_the_model(run):
  pytest.importorskip("flatbuffers", reason="extra export")
  folder = run.parent / "exported"
  argv = ["export", f"--workdir={run}", f"--output={folder}"]
  assert command_line.main(argv) == 0
  facts = json.loads((folder / "model.json").read_text("utf-8"))
  assert len(facts["classes"]) == 6
  assert facts["image_size"] == facts["resize"]["to"] == 64
  assert facts["pixels_apart"] <= 1e-3
  content = bytearray((folder / "predict.jax").read_bytes())
  images = np.random.default_rng(5).integers(0, 256, (3, 64, 64, 3), np.uint8)
  weights = dict(np.load(folder / "weights.npz"))
  found = jax.export.deserialize(content).call(weights, images)
  method, state, _ = loading.load(run)
  expected = jax.jit(method.predict)(state, {"image": images})
  assert np.mean(found["classes"] != expected["classes"]) <= 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnxruntime_gives_the_classes_of_the_model(run):
  for name in ("jax2onnx", "onnxruntime"):
    pytest.importorskip(name, reason="extra onnx")
  folder = run.parent / "onnx"
  argv = ["export", f"--workdir={run}", f"--output={folder}", "--format=onnx"]
  assert command_line.main(argv) == 0
  facts = json.loads((folder / "model.json").read_text("utf-8"))
  assert facts["outputs"] == ["classes"]
  images = np.random.default_rng(7).integers(0, 256, (1, 64, 64, 3), np.uint8)
  content = (folder / "model.onnx").read_bytes()
  found = onnx_model.answered(content, images, facts["outputs"])
  method, state, _ = loading.load(run)
  expected = jax.jit(method.predict)(state, {"image": images})
  assert np.mean(found["classes"] != expected["classes"]) <= 1e-3


def test_a_loaded_model_gives_the_class_of_each_pixel(run):
  model = pj.load(run)
  pixels = np.random.default_rng(1).integers(0, 256, (128, 96, 3), np.uint8)
  found = model.predict(pixels)
  assert found.classes.shape == (128, 96)
  assert sum(found.shares.values()) == pytest.approx(1)
  for name, share in found.shares.items():
    number = model.class_names.index(name)
    assert np.mean(found.classes == number) == pytest.approx(share)
  assert next(iter(found.shares)) in repr(found)
  both = model.predict([pixels, pixels])
  assert_array_equal(both[1].classes, found.classes)


@pytest.mark.slow
def test_a_loaded_model_says_why(run):
  why = pj.load(run).explain(
    np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8),
    allow_stale=True,
  )
  captions = [b.get("caption", "") for b in why.to_dict()["blocks"]]
  assert any("because of what" in caption for caption in captions)
  assert any("their sum is its mean logit" in caption for caption in captions)


def test_evaluate_measures_classes_of_pixels(run):
  found = measure.measure(run)
  names = {"miou", "boundary_iou", "pixel_accuracy", "class_accuracy"}
  names |= {"used_per_class", "prototypes_per_group", "shared_tops"}
  assert set(found) == names
  assert all(0 <= float(x.value) <= 36 for x in found.values())
  assert int(found["miou"].count) == 8
