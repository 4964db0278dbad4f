"""A model whose prototypes were all pruned is refused in one line."""

import functools
import importlib
import types

import jax
import numpy as np
from PIL import Image
import pytest

from protojax import __main__ as command_line
from protojax import loading, methods, parallel
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.evaluation import measure

_CLASSES = ("ash", "birch")


@pytest.fixture(scope="module")
def dead(tmp_path_factory):
  """`dead(name)`: workdir of a method all of whose prototypes are dead."""

  @functools.cache
  def made(name):
    return _dead(tmp_path_factory.mktemp(name), name)

  return made


def _dead(folder, name):
  config = importlib.import_module(f"configs.{name}_folder").get_config("debug")
  config.unlock().backbone.name = "tests.toys.twoconv"
  config.lock()
  method = methods.load(config, _CLASSES)
  shapes = jax.eval_shape(method.init, parallel.init_key(0))
  state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
  assert not state.buffers["alive"].any()
  workdir.claim(folder, config, methods.later)
  workdir.claim_classes(folder, _CLASSES)
  checkpoints = Checkpoints(folder)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  (folder / "summary.json").write_text("{}")
  return folder


@pytest.mark.parametrize(
  ("method", "command", "flags"),
  [
    ("protopnet", "explain", ["--allow-stale", "--images=IMAGE"]),
    ("protopnet", "predict", ["IMAGE"]),
    ("protopnet", "export", ["--output=OUTPUT"]),
    # By what refuses the first, too.
    pytest.param(
      *("st_protopnet", "explain", ["--allow-stale", "--images=IMAGE"]),
      marks=pytest.mark.slow,
    ),
    ("csr", "interact", ["--images", "IMAGE"]),
  ],
)
def test_commands_refuse_it(dead, tmp_path, capsys, method, command, flags):
  image, output = tmp_path / "a.png", tmp_path / "output"
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(image)
  folder = dead(method)
  flags = [
    flag.replace("IMAGE", str(image)).replace("OUTPUT", str(output))
    for flag in flags
  ]
  if command == "export":
    pytest.importorskip("flatbuffers")
  assert command_line.main([command, f"--workdir={folder}", *flags]) == 2
  said = capsys.readouterr().err.splitlines()[-1]
  assert "prototypes of the model were pruned, so it gives every image" in said
  assert not output.exists()
  assert not (folder / "explanations").exists()


def test_its_figures_come_with_a_note(dead, monkeypatch, capsys):
  """They hold: it has an accuracy, that of one answer to all images."""
  folder = dead("protopnet")
  for module in ("decisions", "explanations"):
    monkeypatch.setattr(
      measure, module, types.SimpleNamespace(measure=lambda *given: {})
    )
  method, state, config = loading.load(folder)
  method.stream = lambda split: None
  monkeypatch.setattr(loading, "load", lambda place: (method, state, config))
  assert measure.measure(folder) == {}
  assert "all prototypes of" in capsys.readouterr().err
