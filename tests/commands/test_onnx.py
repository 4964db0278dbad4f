"""`export --format=onnx`, and the server of docs/serving.md."""

import argparse
import io
import json
import re

import jax
import numpy as np
from PIL import Image
import pytest

from protojax import __main__ as command_line
from protojax import loading
from protojax.operations import onnx_model
from protojax.types import UserError
from tests.commands.exported_runs import random_run
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return random_run(tmp_path_factory.mktemp("onnx"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnxruntime_answers_as_the_model(run):
  for name in ("jax2onnx", "onnxruntime"):
    pytest.importorskip(name, reason="extra onnx")
  folder = run.parent / "onnx"
  argv = ["export", f"--workdir={run}", f"--output={folder}", "--format=onnx"]
  assert command_line.main(argv) == 0
  facts = json.loads((folder / "model.json").read_text("utf-8"))
  assert facts["difference"] <= 1e-4
  assert len(facts["classes"]) == 3
  method, state, _ = loading.load(run)
  images = np.random.default_rng(7).integers(0, 256, (1, 32, 32, 3), np.uint8)
  content = (folder / "model.onnx").read_bytes()
  found = onnx_model.answered(content, images, facts["outputs"])
  expected = jax.jit(method.predict)(state, {"image": images})
  for name in ("logits", "probabilities", "points"):
    np.testing.assert_allclose(found[name], expected[name], atol=1e-4)


def test_packages_that_are_missing_are_named(monkeypatch):
  monkeypatch.setattr(onnx_model.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"jax2onnx and onnxruntime.*\[onnx\]"):
    onnx_model.run(argparse.Namespace())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_server_of_the_page_answers(run, monkeypatch):
  for name in ("flatbuffers", "fastapi", "httpx"):
    pytest.importorskip(name, reason="extras export and serve")
  from fastapi.testclient import TestClient

  folder = run.parent / "served"
  argv = ["export", f"--workdir={run}", f"--output={folder}"]
  assert command_line.main(argv) == 0
  monkeypatch.setenv("MODEL", str(folder))
  text = (ROOT / "docs" / "serving.md").read_text("utf-8")
  (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
  names = {"__name__": "server"}
  exec(compile(program, "serving.md", "exec"), names)
  client = TestClient(names["app"])
  pixels = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "PNG")
  found = client.post("/predict", content=file.getvalue())
  assert found.status_code == 200
  method, state, _ = loading.load(run)
  image = names["pixels"](file.getvalue())
  answers = jax.jit(method.predict)(state, {"image": image})
  expected = answers["probabilities"]
  shares = list(found.json()["probabilities"].values())
  np.testing.assert_allclose(shares, expected[0], atol=1e-5)
  assert len(found.json()["because"]) == 3
  assert client.post("/predict", content=b"no image").status_code == 415
